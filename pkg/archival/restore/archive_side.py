"""What restore reads from PostgreSQL: the watermarks and the last bid on every item.

It reads one snapshot. Bids archived later are in JetStream, after the snapshot's watermarks.
"""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from pkg.archival.belonging import READ_SYSTEM
from pkg.archival.schema import migrations, refuse_newer
from pkg.archival.sql import statement
from pkg.archival.store import CONNECT_TIMEOUT_S, Connection
from pkg.auction.asking import ArchivedItem
from pkg.auction.events import UndecodableError, decode_event, redis_timestamp
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.stores.putting_back import ItemRecord, record_of

PAGE = 500

_IDS = statement("restore_ids")
_ITEMS = statement("restore_items")
_ENDS = statement("restore_ends")


@dataclass(frozen=True, slots=True)
class ArchiveEnd:
    """A partition is archived up to ``watermark``; nothing after ``highest`` is archived."""

    watermark: OutboxId = BEGINNING
    highest: OutboxId = BEGINNING


class ArchiveSide:
    """One snapshot of the archive, made by ``snapshot``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def system(self) -> str | None:
        """The system that it belongs to; None if it names none, as before version 3."""
        if await self._connection.fetchval("SELECT to_regclass('system')") is None:
            return None
        system: str | None = await self._connection.fetchval(READ_SYSTEM)
        return system

    async def is_empty(self) -> bool:
        """Whether it holds neither a bid nor a dead letter."""
        empty: bool = await self._connection.fetchval(
            "SELECT NOT EXISTS (SELECT FROM bids) AND NOT EXISTS (SELECT FROM dead_letters)"
        )
        return empty

    async def ends(self) -> dict[str, ArchiveEnd]:
        """Of every partition of which a batch was ever archived."""
        ends = {}
        for row in await self._connection.fetch(_ENDS):
            watermark = OutboxId(row["last_ms"], row["last_n"])
            island = OutboxId(row["island_ms"] or 0, row["island_n"] or 0)
            ends[row["partition"]] = ArchiveEnd(watermark, max(watermark, island))
        return ends

    async def pages(self) -> AsyncIterator[list[ItemRecord]]:
        """Every item with a bid, page by page. Uses a server-side cursor."""
        cursor = await self._connection.cursor(_IDS)
        while rows := await cursor.fetch(PAGE):
            yield await self.items([row["id"] for row in rows])

    async def items(self, item_ids: Sequence[str]) -> list[ItemRecord]:
        """The last bid on each item; items without one are left out."""
        rows = await self._connection.fetch(_ITEMS, item_ids)
        return [record for record in map(_record, rows) if record is not None]


@asynccontextmanager
async def snapshot(url: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[ArchiveSide]:
    """Sets no statement time-out: millions of items take time to read.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: PostgreSQL is away, or has no schema.
        SchemaTooNewError: a newer version has migrated the database.
    """
    connection = await asyncpg.connect(
        url,
        ssl=tls,
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


def archived_item(row: asyncpg.Record) -> ArchivedItem | None:
    """From a row of restore_items.sql; None if the archive has no bid on the item."""
    record = _record(row)
    if record is None:
        return None
    return ArchivedItem(
        record.item_id,
        record.seq,
        record.price_cents,
        record.bidder,
        record.event_id,
        row["count"],
        record.timestamp,
    )


def _record(row: asyncpg.Record) -> ItemRecord | None:
    opened: datetime | None = row["opened"]
    if row["letter"] is not None:
        try:
            last = record_of(decode_event(row["letter"]))
        except UndecodableError:
            pass  # somebody edited the table; use the archived bid
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
    """In the format of place_bid.lua."""
    return redis_timestamp(int(instant.replace(microsecond=0).timestamp()), instant.microsecond)
