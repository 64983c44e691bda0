"""What Redis records about itself, and the check that this process may use it."""

from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key

PARTITIONS = "partitions"
"""Field of ``meta``: how many partitions the items of this Redis are spread over."""
ARCHIVED_TO = "archived_to"
"""Field of ``meta``: outbox id up to which the archive has the partition's events."""


class PartitionsDifferError(Exception):
    """Redis was filled with another number of partitions. Nothing was read or written."""


def redis_client(target: str, *, timeout_s: float, name: str) -> Redis:
    """A client for everything but the hot path. Nothing is sent twice: no retries."""
    return Redis.from_url(
        target,
        client_name=name,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )


class Executes(Protocol):
    """A connection to Redis, be it redis-py's or the hot path's own."""

    async def execute_command(self, *parts: str) -> Any: ...  # noqa: ANN401 - a reply


async def record_partitions(redis: Executes, partitions: int) -> None:
    """Records the number where none is, and refuses one that differs.

    Raises:
        PartitionsDifferError: items would be looked for in the wrong partition.
        redis.exceptions.RedisError: Redis is away.
    """
    for partition in partition_names(partitions):
        key = meta_key(partition)
        await redis.execute_command("HSETNX", key, PARTITIONS, str(partitions))
        recorded = await redis.execute_command("HGET", key, PARTITIONS)
        if int(recorded or 0) != partitions:
            raise PartitionsDifferError(
                f"this Redis was filled with PARTITIONS={int(recorded or 0)}, "
                f"this process is set to {partitions}"
            )
