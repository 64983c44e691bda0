"""The archiving transaction: a portion's bids, dead letters and watermarks, or none of them."""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from pkg.archival.epochs import EpochMark, Origin, newest
from pkg.archival.intake import ArchivableEvent, DeadLetter, Portion, Reason
from pkg.archival.sql import statement
from pkg.archival.store import Connection
from pkg.archival.watermark import Stretch, fold
from pkg.auction.outbox import OutboxId

_DATA, _CONSTRAINT = "22", "23"  # SQLSTATE: data exception, integrity constraint violation

MAX_ERROR_LENGTH = 1000

_INSERT_BIDS = statement("insert_bids")
_FIND_LEFT_OUT = statement("find_left_out")
_INSERT_DEAD_LETTERS = statement("insert_dead_letters")
_MAKE_WATERMARKS = statement("make_watermarks")
_READ_EPOCHS = statement("read_epochs")
_FIND_ARCHIVED = statement("find_archived")
_LOCK_WATERMARKS = statement("lock_watermarks")
_READ_ISLANDS = statement("read_islands")
_MOVE_WATERMARKS = statement("move_watermarks")
_DROP_ISLANDS = statement("drop_islands")
_INSERT_ISLANDS = statement("insert_islands")


class UnstorableError(ValueError):
    """PostgreSQL cannot hold a part of the portion that is not an event. Nothing was written; a
    retry cannot help, but what the portion was made of may be archived apart.
    """


class UnsettledError(asyncpg.InterfaceError):
    """An insert was skipped, yet no conflicting row is left. Nothing was written; try again."""


@dataclass(frozen=True, slots=True)
class ArchivedTo:
    """How far a partition is archived."""

    watermark: OutboxId
    islands: int
    """Archived stretches beyond a hole above the watermark."""
    epoch: int = 0
    """The partition's newest epoch."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a transaction changed."""

    archived: int
    duplicates: int
    dead_letters: Counter[str]
    """New ones only, by reason."""
    archived_to: dict[str, ArchivedTo]


@dataclass(slots=True)
class _Inserted:
    archived: int = 0
    refused: list[DeadLetter] = field(default_factory=list)

    def add(self, other: "_Inserted") -> None:
        self.archived += other.archived
        self.refused += other.refused


Batches = Sequence[tuple[Origin, Stretch | None]]
_Insert = Callable[[Connection, Sequence[ArchivableEvent]], Awaitable[_Inserted]]


async def commit(connection: Connection, portion: Portion) -> Committed:
    """Archives a portion. Safe to repeat and to run concurrently.

    Raises:
        UnstorableError: see there.
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: nothing was written; if the
            connection was lost, possibly everything.
    """
    try:
        return await _commit(connection, portion, _insert)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if not _refuses_data(error):
            raise
    try:
        return await _commit(connection, portion, _insert_bisecting)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if not _cannot_hold(error):
            raise
        raise UnstorableError(f"PostgreSQL cannot hold it: {error}") from error


async def _commit(connection: Connection, portion: Portion, insert: _Insert) -> Committed:
    async with connection.transaction():
        marks = await _read_epochs(connection, portion)
        events, foreign = portion.events, portion.superseded
        origins = {origin for origin, _ in portion.batches if _is_foreign(origin, marks)}
        if origins:  # batches are judged, not their thousands of events
            foreign = foreign + [each for each in events if each.origin in origins]
            events = [each for each in events if each.origin not in origins]
        inserted = await insert(connection, events) if events else _Inserted()
        refused = inserted.refused
        if foreign:
            refused = refused + await _superseded(connection, foreign)
        letters = portion.dead_letters + refused
        new_letters = await _insert_dead_letters(connection, letters) if letters else Counter[str]()
        archived_to = await _move_watermarks(connection, portion.batches, marks)
    return Committed(
        archived=inserted.archived,
        duplicates=len(events) + len(foreign) - inserted.archived - len(refused),
        dead_letters=new_letters,
        archived_to=archived_to,
    )


async def _read_epochs(connection: Connection, portion: Portion) -> dict[str, EpochMark]:
    """The newest epoch of each partition, this portion's included."""
    partitions = sorted({origin.partition for origin, _ in portion.batches})
    rows = await connection.fetch(_READ_EPOCHS, partitions) if partitions else ()
    marks = {row["partition"]: EpochMark(row["epoch"], row["epoch_began"]) for row in rows}
    return _with_batches(marks, portion.batches)


def _with_batches(marks: Mapping[str, EpochMark], batches: Batches) -> dict[str, EpochMark]:
    by_partition: dict[str, list[Origin]] = {}
    for origin, _ in batches:
        by_partition.setdefault(origin.partition, []).append(origin)
    return {
        partition: newest(marks.get(partition, EpochMark()), found)
        for partition, found in by_partition.items()
    }


def _is_foreign(origin: Origin, marks: Mapping[str, EpochMark]) -> bool:
    return origin.is_superseded(marks.get(origin.partition, EpochMark()))


async def _superseded(
    connection: Connection, events: Sequence[ArchivableEvent]
) -> list[DeadLetter]:
    """Dead letters of those that are not archived already, as one that was published again is."""
    rows = await connection.fetch(_FIND_ARCHIVED, [each.event_id for each in events])
    archived = {row["event_id"] for row in rows}
    return [
        _letter(
            each,
            Reason.SUPERSEDED_EPOCH,
            f"accepted in epoch {each.origin.epoch} of {each.partition}, after a newer one began",
        )
        for each in events
        if each.event_id not in archived
    ]


async def _insert(connection: Connection, events: Sequence[ArchivableEvent]) -> _Inserted:
    array = f"[{','.join([event.text for event in events])}]"
    archived: int = await connection.fetchval(_INSERT_BIDS, array)
    if archived == len(events):
        return _Inserted(archived)
    left_out = await connection.fetch(_FIND_LEFT_OUT, array)
    rivals = {row["event_id"]: row for row in left_out}
    conflicts = {event.event_id: event for event in events if event.event_id in rivals}
    return _Inserted(archived, [_conflict(event, rivals[key]) for key, event in conflicts.items()])


def _conflict(event: ArchivableEvent, rivals: asyncpg.Record) -> DeadLetter:
    if rivals["seq_holder"] is not None:
        holder = rivals["seq_holder"]
        return _letter(event, Reason.SEQ_CONFLICT, f"event {holder} has the same item and seq")
    if rivals["bid_holder"] is not None:
        holder = rivals["bid_holder"]
        return _letter(event, Reason.BID_ID_CONFLICT, f"event {holder} has the same bid_id")
    raise UnsettledError(f"event {event.event_id} was not inserted, but nothing conflicts with it")


async def _insert_bisecting(connection: Connection, events: Sequence[ArchivableEvent]) -> _Inserted:
    """Archives all events but the ones that PostgreSQL refuses, which it finds by halving."""
    try:
        async with connection.transaction():  # a savepoint
            return await _insert(connection, events)
    except asyncpg.PostgresError as error:
        if not _refuses_data(error):
            raise
        if len(events) == 1:
            refusal = _letter(events[0], Reason.REFUSED, f"{error.sqlstate}: {error}")
            return _Inserted(0, [refusal])
    middle = len(events) // 2
    inserted = await _insert_bisecting(connection, events[:middle])
    inserted.add(await _insert_bisecting(connection, events[middle:]))
    return inserted


def _refuses_data(error: asyncpg.PostgresError | asyncpg.InterfaceError) -> bool:
    return _cannot_hold(error) or _class_of(error) == _CONSTRAINT


def _cannot_hold(error: asyncpg.PostgresError | asyncpg.InterfaceError) -> bool:
    if isinstance(error, asyncpg.InterfaceError):
        return isinstance(error, ValueError)  # asyncpg could not send an argument
    return _class_of(error) == _DATA


def _class_of(error: asyncpg.PostgresError | asyncpg.InterfaceError) -> str:
    return (getattr(error, "sqlstate", None) or "")[:2]


def _letter(event: ArchivableEvent, reason: Reason, error: str) -> DeadLetter:
    return DeadLetter(
        reason,
        event.text.encode(),
        error,
        partition=event.partition,
        item_id=event.item_id,
        seq=event.seq,
        event_id=event.event_id,
    )


async def _insert_dead_letters(
    connection: Connection, letters: Sequence[DeadLetter]
) -> Counter[str]:
    new = await connection.fetch(
        _INSERT_DEAD_LETTERS,
        [letter.reason.value for letter in letters],
        [letter.partition for letter in letters],
        [letter.item_id for letter in letters],
        [letter.seq for letter in letters],
        [letter.event_id for letter in letters],
        [letter.payload for letter in letters],
        [_storable(letter.error) for letter in letters],
        [hashlib.sha256(letter.payload).digest() for letter in letters],
    )
    return Counter(row["reason"] for row in new)


def _storable(text: str) -> str:
    """Makes the text safe for PostgreSQL: no NUL, no lone surrogate, limited length."""
    return text.replace("\0", "\\0").encode(errors="replace").decode()[:MAX_ERROR_LENGTH]


async def _move_watermarks(
    connection: Connection,
    batches: Batches,
    marks: Mapping[str, EpochMark],
) -> dict[str, ArchivedTo]:
    """``marks`` is what the events were judged by.

    Raises:
        UnsettledError: another worker has just archived a newer epoch's first message.
    """
    if not batches:
        return {}
    partitions = sorted({origin.partition for origin, _ in batches})
    locked = await _lock_watermarks(connection, partitions)
    recorded = {row["partition"]: EpochMark(row["epoch"], row["epoch_began"]) for row in locked}
    if _with_batches(recorded, batches) != marks:
        raise UnsettledError("a newer epoch began meanwhile")
    islands: dict[str, list[Stretch]] = {partition: [] for partition in partitions}
    for row in await connection.fetch(_READ_ISLANDS, partitions):
        islands[row["partition"]].append(
            Stretch(
                OutboxId(row["prev_ms"], row["prev_n"]), OutboxId(row["last_ms"], row["last_n"])
            )
        )
    moved: dict[str, OutboxId] = {}
    changed: dict[str, list[Stretch]] = {}
    archived_to: dict[str, ArchivedTo] = {}
    for row in locked:
        partition, mark = row["partition"], OutboxId(row["last_ms"], row["last_n"])
        waiting = sorted(islands[partition])
        covered = _covered(partition, batches, marks)
        new_mark, new_waiting = fold(mark, [*waiting, *covered])
        if new_mark != mark or marks[partition] != recorded[partition]:
            moved[partition] = new_mark
        if new_waiting != waiting:
            changed[partition] = new_waiting
        archived_to[partition] = ArchivedTo(new_mark, len(new_waiting), marks[partition].number)
    if moved:
        await connection.execute(
            _MOVE_WATERMARKS,
            list(moved),
            [mark.ms for mark in moved.values()],
            [mark.n for mark in moved.values()],
            [marks[partition].number for partition in moved],
            [marks[partition].began for partition in moved],
        )
    if changed:
        await _rewrite_islands(connection, changed)
    return archived_to


async def _lock_watermarks(connection: Connection, partitions: list[str]) -> list[asyncpg.Record]:
    locked = await connection.fetch(_LOCK_WATERMARKS, partitions)
    if len(locked) < len(partitions):
        await connection.execute(_MAKE_WATERMARKS, partitions)
        locked = await connection.fetch(_LOCK_WATERMARKS, partitions)
    return locked


def _covered(partition: str, batches: Batches, marks: Mapping[str, EpochMark]) -> Iterator[Stretch]:
    """What the partition's batches cover, those of superseded epochs aside."""
    for origin, stretch in batches:
        if origin.partition == partition and stretch and not _is_foreign(origin, marks):
            yield stretch


async def _rewrite_islands(connection: Connection, changed: dict[str, list[Stretch]]) -> None:
    await connection.execute(_DROP_ISLANDS, list(changed))
    rows = [
        (partition, *island.prev, *island.last)
        for partition, islands in changed.items()
        for island in islands
    ]
    if rows:
        await connection.execute(
            _INSERT_ISLANDS, *(list(column) for column in zip(*rows, strict=True))
        )
