"""Sees to it that the archive and the stream belong to the same system (``pkg.stores.system``)."""

from collections.abc import Awaitable, Callable
from functools import partial

from pkg.archival.sql import statement
from pkg.archival.store import Connection, Store
from pkg.runtime import logs

_ADOPT_SYSTEM = statement("adopt_system")
READ_SYSTEM = "SELECT id FROM system"

log = logs.get("system")


class OtherSystemError(Exception):
    """The stream belongs to another system than PostgreSQL. Nothing of it was archived."""


class Belonging:
    """The archive takes its system from the first stream that names one. ``stream_system`` asks
    the stream; it is asked again until it names one, and after every reconnect.
    """

    def __init__(self, store: Store, stream_system: Callable[[], Awaitable[str | None]]) -> None:
        self._store = store
        self._stream_system = stream_system
        self._settled = False
        self.checked = False
        """Whether the archive may announce itself: the stream is not another system's."""
        self.other_system = False

    def forget(self) -> None:
        """Call it when NATS has reconnected: it may be another one."""
        self._settled = self.checked = False

    async def check(self) -> None:
        """Call it before anything is archived.

        Raises:
            OtherSystemError: this stream must not be archived here.
            nats.errors.Error, TimeoutError: NATS is away. Stopped: the process was stopped.
        """
        if self._settled:
            return
        stream = await self._stream_system()
        if stream is None:  # it is new, or of the release before
            self.checked = True
            return
        archive = await self._store.run(partial(_agree, stream=stream))
        if archive != stream:
            self.checked = False
            if not self.other_system:
                log.error(
                    "PostgreSQL and the stream belong to different systems; nothing is archived: "
                    "check POSTGRES_URL and NATS_URL",
                    archive=archive,
                    stream=stream,
                )
            self.other_system = True
            raise OtherSystemError("the stream belongs to another system than PostgreSQL")
        if self.other_system:
            log.info("PostgreSQL and the stream belong to the same system again")
        self.other_system = False
        self.checked = self._settled = True

    def probe(self) -> str | None:
        """For ``Readiness.watch``."""
        return "of another system" if self.other_system else None


async def _agree(connection: Connection, *, stream: str) -> str | None:
    """Returns the archive's system, which is the stream's if it had none."""
    archive: str | None = await connection.fetchval(READ_SYSTEM)
    if archive is None:
        await connection.execute(_ADOPT_SYSTEM, stream)
        archive = await connection.fetchval(READ_SYSTEM)
    return archive
