"""What the audit reads from PostgreSQL. It writes nothing."""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import TypedDict

import asyncpg

from pkg.archival.audit.verdict import ArchivedItem
from pkg.archival.schema import migrations, refuse_newer
from pkg.archival.sql import statement
from pkg.archival.store import CONNECT_TIMEOUT_S, Connection
from pkg.auction.outbox import OutboxId

PAGE = 500

_ITEMS = statement("audit_items")
_IDS = statement("audit_ids")
_DEAD_LETTERS = statement("audit_dead_letters")
_SUPERSEDED = statement("audit_superseded")
_KNOWN = statement("audit_known")
_WATERMARKS = statement("read_watermarks")


class ListedLetter(TypedDict):
    id: int
    reason: str
    partition: str | None
    item_id: str | None
    seq: int | None
    event_id: str | None
    error: str
    created_at: datetime
    archived_since: bool


class ArchiveSide:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, url: str, *, tls: ssl.SSLContext | None = None) -> "ArchiveSide":
        """Sets no statement time-out: millions of bids take time to read."""
        connection = await asyncpg.connect(
            url,
            ssl=tls,
            timeout=CONNECT_TIMEOUT_S,
            server_settings={
                "application_name": "audit",
                "default_transaction_read_only": "on",
                "timezone": "UTC",
            },
        )
        return cls(connection)

    async def aclose(self) -> None:
        await self._connection.close(timeout=2)

    async def check_schema(self) -> None:
        """Raises asyncpg.UndefinedTableError if there is no schema, SchemaTooNewError if newer."""
        applied = await self._connection.fetchval("SELECT max(version) FROM schema_version")
        refuse_newer(applied or 0, max(migrations()))

    async def items(self, upto: Mapping[str, int]) -> dict[str, ArchivedItem]:
        """What the archive has of each item, up to the given seq. Every item gets an entry."""
        rows = await self._connection.fetch(_ITEMS, list(upto), list(upto.values()))
        return {row["item_id"]: _archived_item(row) for row in rows}

    async def pages(self) -> AsyncIterator[list[str]]:
        """The ids of all items with bids. Uses a server-side cursor."""
        async with self._connection.transaction(readonly=True):
            cursor = await self._connection.cursor(_IDS)
            while rows := await cursor.fetch(PAGE):
                yield [row["id"] for row in rows]

    async def count_dead_letters(self) -> int:
        count: int = await self._connection.fetchval("SELECT count(*) FROM dead_letters")
        return count

    async def count_superseded(self) -> int:
        """Bids that a superseded Redis accepted and no other history has."""
        count: int = await self._connection.fetchval(_SUPERSEDED)
        return count

    async def dead_letters(self, *, limit: int) -> list[ListedLetter]:
        """The newest ``limit`` ones, in order of age, oldest first."""
        rows = await self._connection.fetch(_DEAD_LETTERS, limit)
        return [ListedLetter(**dict(row)) for row in reversed(rows)]  # type: ignore[typeddict-item]

    async def known(self, event_ids: Sequence[str]) -> set[str]:
        """The event ids that are archived or dead letters."""
        rows = await self._connection.fetch(_KNOWN, event_ids)
        return {row["event_id"] for row in rows}

    async def watermarks(self) -> dict[str, OutboxId]:
        rows = await self._connection.fetch(_WATERMARKS)
        return {row["partition"]: OutboxId(row["last_ms"], row["last_n"]) for row in rows}


def _archived_item(row: asyncpg.Record) -> ArchivedItem:
    last = row["last_amount"]
    return ArchivedItem(
        archived=row["archived"],
        dead_lettered=row["dead_lettered"],
        missing_inside=row["missing_inside"],
        first_missing=row["first_missing"],
        reached=row["reached"],
        twice=row["twice"],
        first_fall=row["first_fall"],
        last_cents=None if last is None else int(last.scaleb(2)),
        last_event_ids=tuple(each for each in row["last_event_ids"] if each is not None),
        last_seq=row["last_seq"],
        item_agrees=row["item_agrees"],
    )
