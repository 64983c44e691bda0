"""Announces the watermarks, so that relays can trim the outbox."""

import asyncio

import nats.errors

from pkg.archival.commit import ArchivedTo
from pkg.archival.sql import statement
from pkg.archival.store import Connection
from pkg.auction.events import encode_watermark
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import NO_PARTITION, archived_subject
from pkg.runtime.nats_link import NatsLink

EVERY_S = 1.0

_READ_WATERMARKS = statement("read_watermarks")

_NOTHING = {NO_PARTITION: ArchivedTo(BEGINNING, islands=0)}
"""Announced while the archive is empty, so that a gateway knows it may open an empty Redis."""


class Announcer:
    """Announces each watermark when it moves, and all of them every second: core NATS may drop one.

    Another worker may be further ahead; ours is a safe lower bound.
    """

    def __init__(self, link: NatsLink) -> None:
        self._link = link
        self.archived_to: dict[str, ArchivedTo] = {}
        self._loaded = False

    async def load(self, connection: Connection) -> None:
        """Replaces all watermarks: a restored PostgreSQL may have lower ones than we announced."""
        self.archived_to = {
            row["partition"]: ArchivedTo(
                OutboxId(row["last_ms"], row["last_n"]), row["islands"], row["epoch"]
            )
            for row in await connection.fetch(_READ_WATERMARKS)
        }
        self._loaded = True

    async def moved(self, archived_to: dict[str, ArchivedTo]) -> None:
        self.archived_to |= archived_to
        await self._publish(archived_to)

    async def run(self) -> None:
        while True:
            if self._loaded:
                await self._publish(self.archived_to or _NOTHING)
            await asyncio.sleep(EVERY_S)

    async def _publish(self, archived_to: dict[str, ArchivedTo]) -> None:
        if not self._link.connected:
            return
        try:
            for partition, archived in tuple(archived_to.items()):
                message = encode_watermark(partition, archived.watermark, archived.epoch)
                await self._link.client.publish(archived_subject(partition), message)
        except nats.errors.Error:
            return  # announced again within a second
