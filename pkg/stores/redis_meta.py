"""What Redis records about itself, and the check that this process may use it."""

import secrets
from collections.abc import Iterable
from typing import Any, Protocol

from redis.asyncio import Connection, Redis, SSLConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError

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


def redis_client(target: str, *, timeout_s: float, name: str) -> Redis:
    """A client for everything but the hot path. Nothing is sent twice: no retries."""
    client = Redis.from_url(
        target,
        client_name=name,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
    pool = client.connection_pool
    tls = issubclass(pool.connection_class, SSLConnection)
    pool.connection_class = _TlsConnection if tls else _PlainConnection
    return client


class _NoticesClosed(AbstractConnection):
    """On a connection that was reset since its last use, uvloop raises RuntimeError where asyncio
    says nothing. redis-py passes that on, and a task that knows Redis' errors would die of it.

    A server that became a replica keeps its connections: what it refuses ends this one, and the
    next is made to whoever the address names by then.
    """

    async def send_packed_command(
        self,
        command: bytes | str | Iterable[bytes],
        check_health: bool = True,  # noqa: FBT001, FBT002 - redis-py's own signature
    ) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise RedisConnectionError(f"the connection was lost: {error}") from error

    async def read_response(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py's
        try:
            return await super().read_response(*args, **options)
        except ReadOnlyError:
            await self.disconnect(nowait=True)
            raise


class _PlainConnection(_NoticesClosed, Connection):
    pass


class _TlsConnection(_NoticesClosed, SSLConnection):
    pass


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
