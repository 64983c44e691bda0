"""The Redis client for everything but the hot path."""

from collections.abc import Iterable
from typing import Any

from redis.asyncio import Connection, Redis, SSLConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError


def redis_client(target: str, *, timeout_s: float, name: str) -> Redis:
    """A client that never retries, so that nothing is sent twice."""
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


class _FailoverAware(AbstractConnection):
    """Treats a reset as a Redis error, and closes itself when the server became a replica.

    uvloop, unlike asyncio, raises RuntimeError for a write to a connection that was reset. redis-py
    passes it on, and it would end a task that handles only Redis' errors.

    A server that became a replica keeps its connections and refuses writes. This connection then
    closes, and the next one goes to the server that the address names by then.
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


class _PlainConnection(_FailoverAware, Connection):
    pass


class _TlsConnection(_FailoverAware, SSLConnection):
    pass
