"""Announces the watermarks, so that relays can trim the outbox, and whether the archive is empty.

By the latter they know whether an empty Redis is a new one.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import nats.errors

from pkg.archival.commit import ArchivedTo
from pkg.archival.sql import statement
from pkg.archival.store import Connection, ping
from pkg.auction.events import ArchiveState, encode_archive_state, encode_watermark
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import NO_PARTITION, archived_subject
from pkg.runtime.nats_link import NatsLink

EVERY_S = 1.0

_READ_WATERMARKS = statement("read_watermarks")

_READ_STATE = statement("read_archive_state")


class Announcer:
    """Announces each watermark when it moves, and all of them every second: core NATS may drop one.

    Another worker may be further ahead; ours is a safe lower bound.
    """

    def __init__(self, link: NatsLink, *, may_announce: Callable[[], bool] = lambda: True) -> None:
        """``may_announce``: whether NATS is known not to be another system's."""
        self._link = link
        self._may_announce = may_announce
        self.archived_to: dict[str, ArchivedTo] = {}
        self._state: ArchiveState | None = None

    async def load(self, connection: Connection) -> None:
        """Replaces all watermarks: a restored PostgreSQL may have lower ones than we announced."""
        self.archived_to = {
            row["partition"]: ArchivedTo(
                OutboxId(row["last_ms"], row["last_n"]), row["islands"], row["epoch"]
            )
            for row in await connection.fetch(_READ_WATERMARKS)
        }
        await self._look(connection)

    async def look(self, connection: Connection) -> None:
        """Call it while there is nothing to archive. It notices an outage of PostgreSQL, and what
        another worker has archived or learned.
        """
        if self._state is None or self._state.empty or self._state.system is None:
            await self._look(connection)
        else:
            await ping(connection)

    async def moved(self, archived_to: dict[str, ArchivedTo]) -> None:
        self.archived_to |= archived_to
        if self._state is not None and self._state.empty:
            nothing = all(
                mark.watermark == BEGINNING and not mark.islands for mark in archived_to.values()
            )
            self._state = self._state._replace(empty=nothing)
        await self._publish(archived_to)

    async def run(self) -> None:
        while True:
            if self._state is not None:
                await self._publish(self.archived_to)
                await self._send(NO_PARTITION, encode_archive_state(self._state))
            await asyncio.sleep(EVERY_S)

    async def _publish(self, archived_to: dict[str, ArchivedTo]) -> None:
        for partition, archived in tuple(archived_to.items()):
            message = encode_watermark(partition, archived.watermark, archived.epoch)
            await self._send(partition, message)

    async def _send(self, partition: str, message: bytes) -> None:
        if not (self._link.connected and self._may_announce()):
            return
        with suppress(nats.errors.Error):  # announced again within a second
            await self._link.client.publish(archived_subject(partition), message)

    async def _look(self, connection: Connection) -> None:
        [row] = await connection.fetch(_READ_STATE)
        self._state = ArchiveState(empty=row["empty"], system=row["system"])
