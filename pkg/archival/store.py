"""The connection to PostgreSQL: one, kept or made anew, and what is done with it retried."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import asyncpg

from pkg.runtime import logs
from pkg.runtime.backoff import Backoff

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[Any]"  # generic for type checkers only

CONNECT_TIMEOUT_S = 5.0
FIRST_RETRY_S = 0.05
MAX_RETRY_S = 3.0
_COLLISION = "40"  # SQLSTATE class: a deadlock or a failed serialization; nothing is broken

# asyncpg's InternalClientError: a statement met the server's word that the session has ended.
AWAY = (
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
    *(OSError, TimeoutError),
)

log = logs.get("postgres")


class Stopped(Exception):  # noqa: N818 - not an error
    """The process was told to stop while PostgreSQL was away. The work was not done."""


class Store:
    """One connection and one transaction at a time: PostgreSQL takes about 70,000 rows a second
    in batches of 1,000 on one, several times what the stream brings, and acknowledgements keep
    the order of commits. More workers, not more connections, are the way to more.
    """

    def __init__(
        self,
        url: str,
        *,
        statement_timeout_s: float,
        prepare: Callable[[Connection], Awaitable[None]],
        stop: asyncio.Event,
    ) -> None:
        """``prepare`` is run on each new connection before it is used."""
        self._url = url
        self._statement_timeout_s = statement_timeout_s
        self._prepare = prepare
        self._stop = stop
        self._connection: Connection | None = None
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
        """Does ``work``, again from its beginning whenever PostgreSQL fails it, however long it
        takes. ``work`` must be safe to repeat: the outcome of a lost commit is not known.

        Raises:
            Stopped: told to stop before it could be done.
            asyncpg.ClientConfigurationError: the URL's options make no sense; no try will help.
        """
        backoff = Backoff(FIRST_RETRY_S, MAX_RETRY_S, jitter=True)
        while True:
            try:
                done = await work(await self._connected())
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
            timeout=CONNECT_TIMEOUT_S,
            # PostgreSQL ends a slow statement itself; this is for one that does not even answer.
            command_timeout=timeout_s + CONNECT_TIMEOUT_S,
            server_settings={
                "application_name": "archival-worker",
                "statement_timeout": str(round(timeout_s * 1000)),
                # A worker that hangs in its transaction must not hold its locks for ever.
                "idle_in_transaction_session_timeout": str(round(timeout_s * 1000)),
                # What is acknowledged is gone from the stream's hands: it must be on disk.
                "synchronous_commit": "on",
                "timezone": "UTC",
            },
        )
        try:
            await self._prepare(connection)
        except BaseException:  # cancelled too: nobody else knows of this connection
            connection.terminate()
            raise
        self._connection = connection
        return connection

    def _succeeded(self) -> None:
        self._failing = False
        if self._told != "up":
            log.info("connected", again=self._told is not None)
            self._told = "up"

    def _failed(self, error: Exception) -> None:
        if isinstance(error, asyncpg.PostgresError) and _sqlstate(error).startswith(_COLLISION):
            return
        # Whatever else failed, a new connection also finds a changed or a missing schema.
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        self._failing = True
        if self._told != "away":
            self._told = "away"
            # asyncpg's transactions hide what ended them behind their own failing roll-back.
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
    """Finds out early that PostgreSQL is away, while nothing is to be archived."""
    await connection.fetchval("SELECT 1")
