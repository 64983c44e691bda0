"""What restore reads of PostgreSQL: how far it is, and the last bid on every item. It never writes.

All is read in one snapshot: what the archive takes in meanwhile, JetStream holds behind the
watermarks of that snapshot.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from pkg.archival.schema import migrations, refuse_newer
from pkg.archival.sql import statement
from pkg.archival.store import CONNECT_TIMEOUT_S, Connection
from pkg.auction.events import UndecodableError, decode_event, redis_timestamp
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.stores.putting_back import ItemRecord, record_of

PAGE = 500

_IDS = statement("restore_ids")
_ITEMS = statement("restore_items")
_ENDS = statement("restore_ends")


@dataclass(frozen=True, slots=True)
class ArchiveEnd:
    """Of a partition: all up to ``watermark`` is archived, and nothing beyond ``highest``."""

    watermark: OutboxId = BEGINNING
    highest: OutboxId = BEGINNING


class ArchiveSide:
    """One snapshot of the archive. Made by ``snapshot``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def ends(self) -> dict[str, ArchiveEnd]:
        """Of every partition that the archive ever had a batch of."""
        ends = {}
        for row in await self._connection.fetch(_ENDS):
            watermark = OutboxId(row["last_ms"], row["last_n"])
            island = OutboxId(row["island_ms"] or 0, row["island_n"] or 0)
            ends[row["partition"]] = ArchiveEnd(watermark, max(watermark, island))
        return ends

    async def pages(self) -> AsyncIterator[list[ItemRecord]]:
        """Every item with a bid, a page at a time, through a server-side cursor."""
        cursor = await self._connection.cursor(_IDS)
        while rows := await cursor.fetch(PAGE):
            yield await self.items([row["id"] for row in rows])

    async def items(self, item_ids: Sequence[str]) -> list[ItemRecord]:
        """The last bid on each; nothing of an item without a bid."""
        rows = await self._connection.fetch(_ITEMS, item_ids)
        return [record for record in map(_record, rows) if record is not None]


@asynccontextmanager
async def snapshot(url: str) -> AsyncIterator[ArchiveSide]:
    """No statement time-out: an archive of millions of items takes its time to be read.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: PostgreSQL is away, or has no schema.
        SchemaTooNewError: a newer program was here.
    """
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_TIMEOUT_S,
        server_settings={
            "application_name": "restore",
            "default_transaction_read_only": "on",
            "timezone": "UTC",
        },
    )
    try:
        applied = await connection.fetchval("SELECT max(version) FROM schema_version")
        refuse_newer(applied or 0, max(migrations()))
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield ArchiveSide(connection)
    finally:
        await connection.close(timeout=2)


def _record(row: asyncpg.Record) -> ItemRecord | None:
    opened: datetime | None = row["opened"]
    if row["letter"] is not None:
        try:
            last = record_of(decode_event(row["letter"]))
        except UndecodableError:
            pass  # the table was written by hand; what is archived stands
        else:
            return replace(last, timestamp=_text(opened)) if opened else last
    if row["seq"] is None or opened is None:
        return None
    return ItemRecord(
        item_id=row["item_id"],
        seq=row["seq"],
        price_cents=int(row["amount"].scaleb(2)),
        bidder=row["user_id"],
        event_id=row["event_id"],
        timestamp=_text(opened),
    )


def _text(instant: datetime) -> str:
    """As place_bid.lua writes it."""
    return redis_timestamp(int(instant.replace(microsecond=0).timestamp()), instant.microsecond)
