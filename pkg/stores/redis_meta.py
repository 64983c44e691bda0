"""Records in Redis about itself, and the checks that this process may use it."""

from collections.abc import Sequence
from typing import Any, Protocol

from redis.asyncio import Redis

from pkg.auction.keys import meta_key

PARTITIONS = "partitions"
"""Field of ``meta``: the number of partitions that the items of this Redis are spread over."""
ARCHIVED_TO = "archived_to"
"""Field of ``meta``: outbox id up to which the archive has the partition's events."""
RUN_ID = "run_id"
"""Field of ``meta``: run id of the server on which the system was opened, ``:``, and a random mark.

A server with another run id may have lost data. The mark distinguishes openings on the same server,
such as those before a FLUSHALL and after the restore that followed.
"""


EPOCH = "epoch"
"""Field of ``meta``: the epoch in which the partition is open (``pkg.stores.epochs``)."""
SUCCEEDS = "succeeds"
"""Field of ``meta``: the epochs before it, newest first, separated by spaces."""
ITEMS = "items"
"""Field of ``meta``: how many items the partition has in Redis (``pkg.api.relay.item_walk``)."""
DEPARTURES = "departures"
"""Field of ``meta``: how many items left for the archive so far (``pkg.stores.departures``)."""
SYSTEM = "system"
"""Field of ``meta``: the system that this Redis belongs to (``pkg.stores.system``)."""
SUPERSEDED = "superseded:"
"""In place of a run id: the epoch that another Redis opened after this one follows."""
OTHER_SYSTEM = "other-system:"
"""In place of a run id: the system follows to which the stream belongs that our relay found."""


class UnfitRedisError(Exception):
    """This Redis must not be used with these settings. No item was read or written."""


class PartitionsDifferError(UnfitRedisError):
    """Redis was filled with another number of partitions, so items would not be found."""


class NotOpenError(Exception):
    """The system is not open on this Redis server, which may have lost data."""


class SupersededError(NotOpenError):
    """Another Redis was opened after this one. Bids accepted here since are not of its history."""


class OtherSystemError(NotOpenError):
    """The stream belongs to another system than this Redis."""


class Executes(Protocol):
    """A connection to Redis: redis-py's or the hot path's own."""

    async def execute_command(self, *parts: str) -> Any: ...  # noqa: ANN401 - a reply


async def record_partitions(redis: Executes, names: Sequence[str], *, partitions: int) -> None:
    """Records the number of all partitions in those that this server holds, if none is recorded.

    Raises:
        PartitionsDifferError: another number is recorded.
        redis.exceptions.RedisError: Redis is away.
    """
    for name in names:
        key = meta_key(name)
        recorded = await redis.execute_command("HGET", key, PARTITIONS)
        if recorded is None:  # write only then: a Redis out of memory refuses
            await redis.execute_command("HSETNX", key, PARTITIONS, str(partitions))
            recorded = await redis.execute_command("HGET", key, PARTITIONS)
        if int(recorded or 0) != partitions:
            raise PartitionsDifferError(
                f"this Redis was filled with PARTITIONS={int(recorded or 0)}, "
                f"this process is set to {partitions}"
            )


async def require_primary(redis: Executes) -> None:
    """Checks the role: a fail-over may turn the server into a replica and keep its connections.

    Raises:
        NotOpenError: the server is a replica. A client's connections are closed, so that the next
            ones go to the server that the address names by then.
    """
    role = (await redis.execute_command("ROLE"))[0]
    if role in {b"master", "master"}:
        return
    if isinstance(redis, Redis):
        await redis.connection_pool.disconnect()
    raise NotOpenError("the server is a replica")


async def server_run_id(redis: Executes) -> str:
    """The server's id, which changes at every start and is different on every replica."""
    info = await redis.execute_command("INFO", "server")
    if isinstance(info, dict):  # redis-py reads the reply, the hot path's connection does not
        return str(info["run_id"])
    for line in bytes(info).decode().splitlines():
        if line.startswith("run_id:"):
            return line.removeprefix("run_id:")
    raise NotOpenError("the server reports no run id")
