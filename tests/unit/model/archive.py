"""PostgreSQL in memory: runs the archive's statements by the same rules."""

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import asyncpg

from pkg.archival.sql import statement
from pkg.archival.store import Connection
from pkg.auction.outbox import OutboxId
from tests.unit.model.world import Place, World

T = TypeVar("T")
RETRY_S = 0.2
Row = dict[str, Any]


class Away(asyncpg.InterfaceError):
    """The connection is lost; a commit may or may not have happened."""

    def __init__(self, why: str = "away") -> None:
        super().__init__(why)


@dataclass
class Tables:
    """``bids`` is a list so that duplicates would show."""

    bids: list[Row] = field(default_factory=list)
    letters: dict[bytes, Row] = field(default_factory=dict)
    watermarks: dict[str, OutboxId] = field(default_factory=dict)
    epochs: dict[str, tuple[int, int]] = field(default_factory=dict)
    islands: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)


class Archive:
    def __init__(self) -> None:
        self.tables = Tables()
        self.draft: Tables | None = None

    def held(self) -> set[str]:
        letters = {row["event_id"] for row in self.tables.letters.values()}
        return {row["event_id"] for row in self.tables.bids} | letters

    def rival(self, tables: Tables, event: Row) -> Row | None:
        """A bid with the same unique key."""
        for row in tables.bids:
            same_place = (row["item_id"], row["seq"]) == (event["item_id"], event["seq"])
            if same_place or row["event_id"] == event["event_id"]:
                return row
        return None

    def left_out(self, tables: Tables, event: Row) -> Row | None:
        """As ``find_left_out.sql``: None for a duplicate, otherwise the conflict."""
        if any(row["event_id"] == event["event_id"] for row in tables.bids):
            return None
        found = self.rival(tables, event)
        holder = found["event_id"] if found else None
        return {"event_id": event["event_id"], "seq_holder": holder, "bid_holder": None}

    def roll_back(self) -> None:
        self.draft = None


class ModelStore:
    """One worker's connection. Retries forever, as ``pkg.archival.store.Store`` does."""

    retries = 0
    up = True

    def __init__(
        self,
        world: World,
        archive: Archive,
        caller: str,
        prepare: Callable[[Connection], Awaitable[None]],
    ) -> None:
        self._world = world
        self._archive = archive
        self._caller = caller
        self._prepare = prepare
        self._fresh = True

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        while True:
            connection = cast(
                "Connection", ModelConnection(self._world, self._archive, self._caller)
            )
            try:
                if self._fresh:
                    await self._prepare(connection)
                    self._fresh = False
                return await work(connection)
            except Away:
                self._fresh = True
                await asyncio.sleep(RETRY_S)


class ModelConnection:
    """Runs one transaction at a time, as if all of them collided on PostgreSQL's locks."""

    def __init__(self, world: World, archive: Archive, caller: str) -> None:
        self._world = world
        self._archive = archive
        self._caller = caller
        self._draft: Tables | None = None

    def transaction(self) -> "ModelConnection":
        return self

    async def __aenter__(self) -> None:
        def begin() -> None:
            self._archive.draft = copy.deepcopy(self._archive.tables)

        await self._ask(
            "begin", begin, ready=lambda: self._archive.draft is None, may_be_done_unknown=False
        )
        self._draft = self._archive.draft

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        draft, self._draft = self._draft, None
        if kind is not None:
            if self._archive.draft is draft:
                self._archive.roll_back()
            return

        def commit() -> None:
            if draft is None or self._archive.draft is not draft:
                raise Away("the transaction is gone")
            self._archive.tables, self._archive.draft = draft, None

        def abandon() -> None:
            if self._archive.draft is draft:
                self._archive.roll_back()

        await self._ask("commit", commit, abandon=abandon)

    async def fetchval(self, sql: str, array: str = "") -> int:
        if sql == "SELECT 1":
            await self._ask("ping", lambda: None)
            return 1
        tables, events = self._open(sql, "insert_bids"), json.loads(array)
        before = len(tables.bids)
        for event in events:
            if self._archive.rival(tables, event) is None:
                tables.bids.append({name: event[name] for name in ("event_id", "item_id", "seq")})
        return len(tables.bids) - before

    async def fetch(self, sql: str, *arguments: Any) -> list[Row]:  # noqa: ANN401 - as asyncpg's
        match _name_of(sql):
            case "read_watermarks":
                tables: Tables = await self._ask(
                    "read watermarks", lambda: copy.deepcopy(self._archive.tables)
                )
                return [{**row, "islands": 0} for row in _marks(tables, tables.watermarks)]
            case "read_archive_state":
                tables = await self._ask("read state", lambda: copy.deepcopy(self._archive.tables))
                return [{"system": None, "empty": not (tables.bids or tables.letters)}]
            case "read_epochs":
                return _marks(self._open(sql, "read_epochs"), arguments[0])
            case "find_archived":
                tables = self._open(sql, "find_archived")
                return [
                    {"event_id": row["event_id"]}
                    for row in tables.bids
                    if row["event_id"] in arguments[0]
                ]
            case "find_left_out":
                tables = self._open(sql, "find_left_out")
                found = [self._archive.left_out(tables, each) for each in json.loads(arguments[0])]
                return [row for row in found if row is not None]
            case "insert_dead_letters":
                return self._insert_letters(self._open(sql, "insert_dead_letters"), arguments)
            case "lock_watermarks":
                return _marks(self._open(sql, "lock_watermarks"), arguments[0])
            case "read_islands":
                tables = self._open(sql, "read_islands")
                names = ("partition", "prev_ms", "prev_n", "last_ms", "last_n")
                return [
                    dict(zip(names, (partition, *island), strict=True))
                    for partition in arguments[0]
                    for island in tables.islands.get(partition, ())
                ]
        raise NotImplementedError(sql)

    async def execute(self, sql: str, *columns: list[Any]) -> None:
        tables = self._open(sql, name := _name_of(sql))
        match name:
            case "make_watermarks":
                for partition in columns[0]:
                    tables.watermarks.setdefault(partition, OutboxId(0, 0))
            case "move_watermarks":
                for partition, ms, n, *epoch in zip(*columns, strict=True):
                    tables.watermarks[partition] = OutboxId(ms, n)
                    tables.epochs[partition] = (epoch[0], epoch[1])
            case "drop_islands":
                for partition in columns[0]:
                    tables.islands.pop(partition, None)
            case "insert_islands":
                self._world.note("a stretch waits for the one before it")
                for partition, *island in zip(*columns, strict=True):
                    tables.islands.setdefault(partition, []).append(tuple(island))
            case _:
                raise NotImplementedError(sql)

    def _insert_letters(self, tables: Tables, columns: tuple[list[Any], ...]) -> list[Row]:
        new = []
        for reason, _, item_id, seq, event_id, _, _, digest in zip(*columns, strict=True):
            if digest not in tables.letters:
                row = {"reason": reason, "event_id": event_id, "item_id": item_id, "seq": seq}
                tables.letters[digest] = row
                self._world.note(f"dead letter: {reason}")
                new.append(row)
        return new

    def _open(self, sql: str, name: str) -> Tables:
        assert _name_of(sql) == name
        assert self._draft is not None, f"{name} outside of a transaction"
        return self._draft

    async def _ask(self, name: str, effect: Callable[[], Any], **more: Any) -> Any:  # noqa: ANN401
        return await self._world.call(
            self._caller, Place.POSTGRES, name, effect, failure=Away, **more
        )


_NAMES = {
    statement(name): name
    for name in (
        *("insert_bids", "find_left_out", "insert_dead_letters", "make_watermarks"),
        *("lock_watermarks", "read_islands", "move_watermarks", "drop_islands"),
        *("insert_islands", "read_watermarks", "read_epochs", "find_archived"),
        "read_archive_state",
    )
}


def _marks(tables: Tables, partitions: Iterable[str]) -> list[Row]:
    rows = []
    for name, mark in sorted(tables.watermarks.items()):
        if name in partitions:
            epoch, began = tables.epochs.get(name, (0, 0))
            rows.append(
                {
                    "partition": name,
                    "last_ms": mark.ms,
                    "last_n": mark.n,
                    "epoch": epoch,
                    "epoch_began": began,
                }
            )
    return rows


def _name_of(sql: str) -> str:
    return _NAMES[sql]
