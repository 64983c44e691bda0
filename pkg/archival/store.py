"""The worker's one connection to PostgreSQL: reconnects, and retries what fails."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import asyncpg

from pkg.archival.half_open import found_dead
from pkg.runtime import logs
from pkg.runtime.background import ended
from pkg.runtime.backoff import Backoff

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[Any]"  # generic for type checkers only

CONNECT_TIMEOUT_S = 3.0
FIRST_RETRY_S = 0.05
MAX_RETRY_S = 2.0
_COLLISION = (
    "40"  # SQLSTATE class of deadlocks and failed serializations: the connection stays usable
)

# InternalClientError: asyncpg got the session's end while it sent a statement.
AWAY = (
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
    *(OSError, TimeoutError),
)

log = logs.get("postgres")


class Stopped(Exception):  # noqa: N818 - not an error
    """The process was stopped while PostgreSQL was away. The work was not done."""


class Store:
    """One connection, one transaction at a time. One takes about 70,000 rows a second in batches
    of 1,000, several times what the stream delivers, and keeps acknowledgements in commit order.
    For more throughput add workers, not connections.
    """

    def __init__(
        self,
        url: str,
        *,
        statement_timeout_s: float,
        prepare: Callable[[Connection], Awaitable[None]],
        stop: asyncio.Event,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``prepare`` runs on each new connection before its first use."""
        self._url = url
        self._tls = tls
        self._statement_timeout_s = statement_timeout_s
        self._prepare = prepare
        self._stop = stop
        self._connection: Connection | None = None
        self._session = 0  # the process id of its session in PostgreSQL
        self._failing = False
        self._told: str | None = None
        self.retries = 0

    @property
    def up(self) -> bool:
        connected = self._connection is not None and not self._connection.is_closed()
        return connected and not self._failing

    def probe(self) -> str | None:
        """For ``Readiness.watch``."""
        return None if self.up else "down"

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Retries ``work`` until it succeeds. It must be safe to repeat: after a lost connection
        a commit may have happened.

        Raises:
            Stopped: the process was stopped first.
            asyncpg.ClientConfigurationError: the URL's options are invalid; retrying cannot help.
        """
        backoff = Backoff(FIRST_RETRY_S, MAX_RETRY_S, jitter=True)
        while True:
            try:
                connection = await self._connected()
                async with self._watched(connection):
                    done = await work(connection)
            except asyncpg.ClientConfigurationError:
                raise
            except AWAY as error:
                self.retries += 1
                self._failed(error)
            else:
                self._succeeded()
                return done
            if await self._stops_within(backoff.next_s()):
                raise Stopped

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        try:
            await connection.close(timeout=2)
        except AWAY:
            connection.terminate()

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        timeout_s = self._statement_timeout_s
        connection = await asyncpg.connect(
            self._url,
            ssl=self._tls,
            timeout=CONNECT_TIMEOUT_S,
            # For a server that never answers anybody; a slow statement it ends itself.
            command_timeout=timeout_s + CONNECT_TIMEOUT_S,
            server_settings={
                "application_name": "archival-worker",
                "statement_timeout": str(round(timeout_s * 1000)),
                # A worker that hangs in its transaction must not hold its locks forever.
                "idle_in_transaction_session_timeout": str(round(timeout_s * 1000)),
                # An acknowledged message is not redelivered: its events must be on disk.
                "synchronous_commit": "on",
                "timezone": "UTC",
            },
        )
        try:
            # Asked, as a pooler between us tells another one.
            self._session = await connection.fetchval(
                "SELECT pg_backend_pid()", timeout=CONNECT_TIMEOUT_S
            )
            async with self._watched(connection):
                await self._prepare(connection)
        except BaseException:  # also when cancelled: nobody else would close it
            connection.terminate()
            raise
        self._connection = connection
        return connection

    @asynccontextmanager
    async def _watched(self, connection: Connection) -> AsyncIterator[None]:
        """If the connection is dead, ends it, so that what waits for it fails."""
        watching = asyncio.create_task(self._end_if_dead(connection))
        try:
            yield
        finally:
            await ended(watching)

    async def _end_if_dead(self, connection: Connection) -> None:
        await found_dead(self._url, self._session, tls=self._tls)
        log.warning("connection is dead although open; ended it")
        connection.terminate()

    def _succeeded(self) -> None:
        self._failing = False
        if self._told != "up":
            log.info("connected", again=self._told is not None)
            self._told = "up"

    def _failed(self, error: Exception) -> None:
        if isinstance(error, asyncpg.PostgresError) and _sqlstate(error).startswith(_COLLISION):
            return
        # Reconnecting after any other failure also repairs a schema that has changed or is missing.
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        self._failing = True
        if self._told != "away":
            self._told = "away"
            # asyncpg's failing roll-back hides the error that caused it.
            cause = error.__context__ if isinstance(error, asyncpg.InterfaceError) else None
            log.warning("away; trying on", error=str(cause or error) or type(error).__name__)

    async def _stops_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _sqlstate(error: asyncpg.PostgresError) -> str:
    return error.sqlstate or ""


async def ping(connection: Connection) -> None:
    """Notices an outage of PostgreSQL even while there is nothing to archive."""
    await connection.fetchval("SELECT 1")
