"""Tells the relay how far the archive is, so that the outbox may be trimmed."""

import asyncio

import nats.errors

from pkg.archival.commit import Standing
from pkg.archival.statements import statement
from pkg.archival.store import Connection
from pkg.auction.events import encode_watermark
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import NO_PARTITION, archived_subject
from pkg.runtime.nats_link import NatsLink

EVERY_S = 1.0

_READ_WATERMARKS = statement("read_watermarks")


class Announcer:
    """Tells each watermark after it moved, and every second: core messages may be missed.

    Another worker may be further by now; what is told is true all the same.
    """

    def __init__(self, link: NatsLink) -> None:
        self._link = link
        self.standings: dict[str, Standing] = {}
        self._loaded = False

    async def load(self, connection: Connection) -> None:
        """Takes what PostgreSQL says: after a restore it may be less than was told before."""
        self.standings = {
            row["partition"]: Standing(OutboxId(row["last_ms"], row["last_n"]), row["islands"])
            for row in await connection.fetch(_READ_WATERMARKS)
        }
        self._loaded = True

    async def moved(self, standings: dict[str, Standing]) -> None:
        self.standings |= standings
        await self._tell(standings)

    async def run(self) -> None:
        while True:
            if self._loaded:
                # An empty Redis is opened once it is known whether the archive is empty too.
                await self._tell(self.standings or {NO_PARTITION: Standing(BEGINNING, islands=0)})
            await asyncio.sleep(EVERY_S)

    async def _tell(self, standings: dict[str, Standing]) -> None:
        if not self._link.connected:
            return
        try:
            for partition, standing in tuple(standings.items()):
                message = encode_watermark(partition, standing.last)
                await self._link.client.publish(archived_subject(partition), message)
        except nats.errors.Error:
            return  # told again within a second
