"""A Redis connection kept up for ever: connected, prepared, watched, connected again."""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url

from pkg.api.bidding.prices import SeenPrices
from pkg.api.errors import ApiError, Busy, RedisRecovering, RedisUnavailable
from pkg.api.redis.connection import RedisConnection, pack
from pkg.api.redis.replicated import ReplicatedConnection
from pkg.runtime import logs
from pkg.stores.redis_meta import NotOpenError, UnfitRedisError

FIRST_BACKOFF_S = 0.05
BACKOFF_CAP_S = 1.0
RECOVERING_CAP_S = 0.5  # recovery usually ends soon, and every bid waits for it
CHECK_EVERY_S = 1.0

RECOVERING = "recovering"

log = logs.get("redis")

Prepare = Callable[[RedisConnection], Awaitable[None]]


class RedisLink:
    """Hands out the connection that stands now; no command is kept for the next one.

    Args:
        prepare: runs on every new connection before others may use it; what it raises means that
            this Redis may not be used (now), and the link tries again later.
        check: runs every CHECK_EVERY_S on the standing connection; what it raises ends it likewise.
        new_prices: makes the cache of prices that belongs to one connection.
        min_replicas: replicas that must have a command before its reply counts (WAIT).
        one_of_many: its changes of state are told at debug level, another link's speak for all.
    """

    def __init__(
        self,
        target: str,
        *,
        name: str,
        timeout_s: float,
        queue_max: int,
        prepare: Prepare,
        new_prices: Callable[[], SeenPrices],
        check: Prepare | None = None,
        one_of_many: bool = False,
        min_replicas: int = 0,
    ) -> None:
        self._target = target
        self._name = name
        self._timeout_s = timeout_s
        self._queue_max = queue_max
        self._prepare = prepare
        self._check = check
        self._new_prices = new_prices
        self._one_of_many = one_of_many
        self._min_replicas = min_replicas
        self._connection: RedisConnection | None = None
        self._lost = asyncio.Event()
        self._state: str | None = "connecting"
        self.connects = 0

    def probe(self) -> str | None:
        """For ``Readiness.watch``: why no command can be sent now."""
        return self._state

    @property
    def waiting(self) -> int:
        return self._connection.waiting if self._connection is not None else 0

    def current(self) -> RedisConnection:
        """The connection that stands now. Commands that belong together go on the same one.

        Raises:
            RedisUnavailable: there is none. RedisRecovering: there could be one, but what Redis
                holds may be too little.
        """
        if self._connection is None:
            raise RedisRecovering if self._state == RECOVERING else RedisUnavailable
        return self._connection

    async def run(self) -> None:
        """Keeps the connection up until cancelled."""
        backoff_s = FIRST_BACKOFF_S
        connection: RedisConnection | None = None
        try:
            while True:
                try:
                    connection = await self._connect()
                    await self._prepare(connection)
                    self._tell(None)
                    self._connection = connection
                    self.connects += 1
                    backoff_s = FIRST_BACKOFF_S
                    await self._stay(connection)
                    self._tell("down", "connection lost")
                except (OSError, TimeoutError, ApiError, hiredis.ReplyError) as error:
                    self._tell("down", error)
                except NotOpenError as error:
                    self._tell(RECOVERING, error)
                    backoff_s = min(backoff_s, RECOVERING_CAP_S)
                except UnfitRedisError as error:
                    self._tell("refused", error)
                self._connection = None
                if connection is not None:
                    connection.close()
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                backoff_s = min(backoff_s * 2, BACKOFF_CAP_S)
        finally:
            self._connection = None
            self._state = "closed"
            if connection is not None:
                connection.close()

    async def _stay(self, connection: RedisConnection) -> None:
        """Until the connection ends, or raises what ``check`` finds."""
        lost = self._lost
        while not lost.is_set():
            try:
                async with asyncio.timeout(CHECK_EVERY_S):
                    await lost.wait()
            except TimeoutError:
                if self._check is not None:
                    with suppress(Busy):  # a full queue proves that it is in use
                        await self._check(connection)

    def _tell(self, state: str | None, why: object = None) -> None:
        """Logs a change of state once, not each try."""
        if state == self._state:
            return
        self._state = state
        if self._one_of_many:
            log.debug("changed", connection=self._name, state=state or "connected", why=str(why))
        elif state is None:
            log.info("connected", connection=self._name)
        else:
            log.warning("cannot be used; trying on", connection=self._name, why=str(why or state))

    def _new_connection(self) -> RedisConnection:
        options: dict[str, Any] = {
            "timeout_s": self._timeout_s,
            "queue_max": self._queue_max,
            "prices": self._new_prices(),
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
        first.append(pack("CLIENT", "SETNAME", self._name))
        try:
            await asyncio.gather(*[connection.submit(command) for command in first])
        except BaseException:  # a wrong password, or cancelled: nobody else knows of it
            connection.close()
            raise
        return connection


def _tls(options: Any) -> ssl.SSLContext | None:  # noqa: ANN401 - redis-py's own dict of options
    if options.get("connection_class") is not SSLConnection:
        return None
    return ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
