"""A Redis connection that is kept open: connected, prepared, checked, and replaced when lost."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url

from pkg.api.errors import (
    ApiError,
    Busy,
    OtherSystem,
    RedisRecovering,
    RedisSuperseded,
    RedisUnavailable,
)
from pkg.api.redis.connection import RedisConnection, pack
from pkg.api.redis.replicated import ReplicatedConnection
from pkg.runtime import logs
from pkg.runtime.backoff import Backoff
from pkg.stores.redis_meta import NotOpenError, OtherSystemError, SupersededError, UnfitRedisError

FIRST_BACKOFF_S = 0.05
BACKOFF_CAP_S = 1.0
RECOVERING_CAP_S = 0.5  # recovery is usually short, and every bid waits for it
CHECK_EVERY_S = 1.0

RECOVERING = "recovering"
SUPERSEDED = "superseded"
OTHER_SYSTEM = "of another system"

T = TypeVar("T")

log = logs.get("redis")


class RedisLink(Generic[T]):
    """Hands out what ``prepare`` made of the open connection. A lost connection's commands are
    never sent on the next one.

    Args:
        prepare: runs on each new connection and returns what ``current`` hands out. If it raises,
            this Redis may not be used (yet) and the link tries again later.
        check: runs every CHECK_EVERY_S; if it raises, the connection is closed and replaced.
        min_replicas: replicas that must have a command before its reply counts (WAIT).
        client_name: by which Redis knows the connection, if not by ``name``.
        quiet: logs changes of state at debug level, because another link to this Redis logs them.
    """

    def __init__(
        self,
        target: str,
        *,
        name: str,
        timeout_s: float,
        queue_max: int,
        prepare: Callable[[RedisConnection], Awaitable[T]],
        check: Callable[[T], Awaitable[None]] | None = None,
        min_replicas: int = 0,
        quiet: bool = False,
        client_name: str | None = None,
    ) -> None:
        self._target = target
        self._name = name
        self._timeout_s = timeout_s
        self._queue_max = queue_max
        self._prepare = prepare
        self._check = check
        self._min_replicas = min_replicas
        self._quiet = quiet
        self._client_name = client_name or name
        self._connection: RedisConnection | None = None
        self._current: T | None = None
        self._lost = asyncio.Event()
        self._state: str | None = "connecting"
        self.connects = 0

    def probe(self) -> str | None:
        """For ``Readiness.watch``: why no command can be sent now."""
        return self._state

    @property
    def waiting(self) -> int:
        """How many commands still wait for a reply."""
        return self._connection.waiting if self._connection and self._current else 0

    def current(self) -> T:
        """The open connection, as prepared. Commands that belong together go to the same one.

        Raises:
            RedisUnavailable: there is none. RedisRecovering: Redis answers, but may have forgotten
                bids. RedisSuperseded: another Redis was opened after it. OtherSystem: the stream
                belongs to another system.
        """
        if self._current is None:
            if self._state == SUPERSEDED:
                raise RedisSuperseded
            if self._state == OTHER_SYSTEM:
                raise OtherSystem
            raise RedisRecovering if self._state == RECOVERING else RedisUnavailable
        return self._current

    async def run(self) -> None:
        """Keeps the connection open until cancelled."""
        backoff = Backoff(FIRST_BACKOFF_S, BACKOFF_CAP_S, jitter=True)
        try:
            while True:
                at_most_s = None
                try:
                    self._connection = await self._connect()
                    current = await self._prepare(self._connection)
                    self._move(None)
                    self._current = current
                    self.connects += 1
                    backoff.reset()
                    await self._stay(current)
                    self._move("down", "connection lost")
                except (OSError, TimeoutError, ApiError, hiredis.ReplyError) as error:
                    self._move("down", error)
                except SupersededError as error:
                    self._move(SUPERSEDED, error)
                except OtherSystemError as error:
                    self._move(OTHER_SYSTEM, error)
                except NotOpenError as error:
                    self._move(RECOVERING, error)
                    at_most_s = RECOVERING_CAP_S
                except UnfitRedisError as error:
                    self._move("refused", error)
                self._close()
                await asyncio.sleep(backoff.next_s(at_most_s=at_most_s))
        finally:
            self._state = "closed"
            self._close()

    def _close(self) -> None:
        self._current = None
        if self._connection is not None:
            self._connection.close()

    async def _stay(self, current: T) -> None:
        """Returns when the connection is lost; raises what ``check`` does."""
        lost = self._lost
        while not lost.is_set():
            try:
                async with asyncio.timeout(CHECK_EVERY_S):
                    await lost.wait()
            except TimeoutError:
                if self._check is not None:
                    with suppress(Busy):  # a full queue proves that the connection is in use
                        await self._check(current)

    def _move(self, state: str | None, why: object = None) -> None:
        """Logs a change of state once, not every attempt."""
        if state == self._state:
            return
        self._state = state
        if self._quiet:
            log.debug("changed", connection=self._name, state=state or "connected", why=str(why))
        elif state is None:
            log.info("connected", connection=self._name)
        else:
            log.warning("cannot be used; retrying", connection=self._name, why=str(why or state))

    def _new_connection(self) -> RedisConnection:
        options: dict[str, Any] = {
            "timeout_s": self._timeout_s,
            "queue_max": self._queue_max,
            "on_lost": self._lost.set,
        }
        if not self._min_replicas:
            return RedisConnection(**options)
        return ReplicatedConnection(
            min_replicas=self._min_replicas, wait_ms=int(self._timeout_s * 500), **options
        )

    async def _connect(self) -> RedisConnection:
        options = parse_url(self._target)
        self._lost = asyncio.Event()
        async with asyncio.timeout(self._timeout_s):
            _, connection = await asyncio.get_running_loop().create_connection(
                self._new_connection,
                options.get("host", "localhost"),
                options.get("port", 6379),
                ssl=_tls(options),
            )
        first = []
        if password := options.get("password"):
            user = [options["username"]] if options.get("username") else []
            first.append(pack("AUTH", *user, password))
        if database := options.get("db"):
            first.append(pack("SELECT", str(database)))
        first.append(pack("CLIENT", "SETNAME", self._client_name))
        try:
            await asyncio.gather(*[connection.submit(command) for command in first])
        except BaseException:  # cancelled too: nobody else would close it
            connection.close()
            raise
        return connection


def _tls(options: Any) -> ssl.SSLContext | None:  # noqa: ANN401 - redis-py's own dict of options
    if options.get("connection_class") is not SSLConnection:
        return None
    return ssl.create_default_context(
        cafile=options.get("ssl_ca_certs"), cadata=options.get("ssl_ca_data")
    )
