"""What Redis records about itself, and the check that this process may use it."""

import secrets
from typing import Any, Protocol

from redis.asyncio import Redis

from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key

PARTITIONS = "partitions"
"""Field of ``meta``: how many partitions the items of this Redis are spread over."""
ARCHIVED_TO = "archived_to"
"""Field of ``meta``: outbox id up to which the archive has the partition's events."""


RUN_ID = "run_id"
"""Field of ``meta``: the run id of the server that the system is open on, and a mark of that
opening. Another server may have forgotten; the mark tells an opening before FLUSHALL and a restore
from the one after, which are on the same server.
"""


class UnfitRedisError(Exception):
    """This Redis may not be used with these settings. Nothing was read or written."""


class PartitionsDifferError(UnfitRedisError):
    """Redis was filled with another number of partitions: items would be looked for in vain."""


class NotOpenError(Exception):
    """This Redis is not the one the system is open on; what it holds may be too little."""


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
        recorded = await redis.execute_command("HGET", key, PARTITIONS)
        if recorded is None:  # else nothing is written: a Redis whose memory is full would refuse
            await redis.execute_command("HSETNX", key, PARTITIONS, str(partitions))
            recorded = await redis.execute_command("HGET", key, PARTITIONS)
        if int(recorded or 0) != partitions:
            raise PartitionsDifferError(
                f"this Redis was filled with PARTITIONS={int(recorded or 0)}, "
                f"this process is set to {partitions}"
            )


async def require_primary(redis: Executes) -> None:
    """A fail-over may make the server a replica without ending its connections.

    Raises:
        NotOpenError: it is one. A client's connections are ended, so that its next ones go to
            whoever the address names by then.
    """
    role = (await redis.execute_command("ROLE"))[0]
    if role in {b"master", "master"}:
        return
    if isinstance(redis, Redis):
        await redis.connection_pool.disconnect()
    raise NotOpenError("the server is a replica")


async def server_run_id(redis: Executes) -> str:
    """The server's own id: another one after every start, and on every replica."""
    info = await redis.execute_command("INFO", "server")
    if isinstance(info, dict):  # redis-py reads the reply, the hot path's connection does not
        return str(info["run_id"])
    for line in bytes(info).decode().splitlines():
        if line.startswith("run_id:"):
            return line.removeprefix("run_id:")
    raise NotOpenError("the server tells no run id")


def is_opened_on(run_id: str, recorded: bytes | str | None) -> bool:
    """Whether what stands in field RUN_ID was recorded on the server of that id."""
    text = recorded.decode() if isinstance(recorded, bytes) else recorded or ""
    return text.partition(":")[0] == run_id


async def require_open(redis: Executes, partitions: int) -> str:
    """What is recorded, when every partition is open on this very server.

    Raises:
        NotOpenError: it restarted, failed over or was emptied, and was not recovered yet.
        redis.exceptions.RedisError: Redis is away.
    """
    await require_primary(redis)
    run_id = await server_run_id(redis)
    openings: set[bytes] = set()
    for partition in partition_names(partitions):
        recorded = await redis.execute_command("HGET", meta_key(partition), RUN_ID)
        if not is_opened_on(run_id, recorded):
            raise NotOpenError(f"partition {partition} is not open on server {run_id}")
        openings.add(recorded)
    if len(openings) > 1:
        raise NotOpenError("it is being opened")
    return openings.pop().decode()


async def open_partitions(redis: Executes, partitions: int, run_id: str) -> None:
    """Lets bids in: to be called when nothing is left to put back."""
    opening = f"{run_id}:{secrets.token_hex(4)}"
    for partition in partition_names(partitions):
        await redis.execute_command(
            "HSET", meta_key(partition), PARTITIONS, str(partitions), RUN_ID, opening
        )
