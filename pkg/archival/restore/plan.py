"""The plan of a restore. Making it only reads; it is shown before anything is written."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from nats.js import JetStreamContext

from pkg.archival.restore.archive_side import ArchiveEnd, ArchiveSide
from pkg.archival.restore.redis_side import Known, RedisSide, RedisState
from pkg.archival.restore.systems import Systems, read_systems
from pkg.auction.ids import seconds_of_uuid7
from pkg.auction.item import partition_of
from pkg.auction.outbox import OutboxId
from pkg.stores.putting_back import ItemRecord, records_of
from pkg.stores.redis_meta import PartitionsDifferError
from pkg.stores.stream_tail import batches_after

MOST_NAMED = 100
"""Maximum number of refused items whose ids are kept; all are counted."""


@dataclass(slots=True)
class PartitionPlan:
    """``stream_end`` is the last id that JetStream holds after the watermark."""

    end: ArchiveEnd
    stream_end: OutboxId | None = None
    from_stream: int = 0


@dataclass(slots=True)
class Plan:
    redis: RedisState
    partitions: dict[str, PartitionPlan]
    systems: Systems = field(default_factory=Systems)
    idle_s: float = 0.0
    """Items without a bid for as long stay in the archive; 0: none does."""
    items: int = 0
    """Archived items with a bid."""
    items_departed: int = 0
    """Of these, the items that left Redis for the archive and stay there."""
    items_to_leave: int = 0
    """Of these, the items that Redis lacks and that stay in the archive: they are only marked."""
    items_to_put_back: int = 0
    bids_to_put_back: int = 0
    """By how much the seqs of these items rise in total."""
    from_stream: int = 0
    """Bids in JetStream that are newer than what Redis and the archive have of their item."""
    refused: int = 0
    refused_items: list[str] = field(default_factory=list)
    """Redis has an earlier seq of them, but no lower price. They are left as they are."""
    _refused: set[int] = field(default_factory=set, repr=False)
    """Hashes, so that an item whose later bids are refused too counts once."""

    @property
    def changes(self) -> bool:
        return bool(self.items_to_put_back or self.items_to_leave or self.from_stream)

    @property
    def refusal(self) -> str | None:
        """Why the plan must not be carried out; None if it may be."""
        if self.systems.refusal:
            return self.systems.refusal
        if self.redis.superseded and not self.redis.empty:
            # Its items may have other bids under the same seqs, which no comparison would tell.
            return (
                "Another Redis was opened after this one, and this one still holds items of its "
                "own history. Wait until its gateways log that the outboxes were handed to the "
                "archive, run the audit, which names what it accepted alone; then empty it "
                "(FLUSHALL) and run restore again."
            )
        if self.redis.empty and not self.redis.open and not (self.items or self.from_stream):
            return (
                "Neither the archive nor JetStream holds a bid, so there is nothing to restore. "
                "If that is right, declare this Redis new: restore --empty."
            )
        if self.redis.open_on and not self.redis.empty and self.changes:
            return (
                "Redis is open and accepting bids, which restoring now could overwrite. "
                "Stop every api-gateway and restart Redis, then run restore again."
            )
        return None

    @property
    def nothing_to_do(self) -> bool:
        return self.redis.open and not self.changes

    def leaves(self, record: ItemRecord) -> bool:
        """Whether an item that Redis lacks stays in the archive, to come back when it is needed."""
        last_bid = seconds_of_uuid7(record.event_id)
        return bool(self.idle_s) and last_bid is not None and last_bid < time.time() - self.idle_s

    def refuse(self, item_id: str) -> None:
        if hash(item_id) in self._refused:
            return
        self._refused.add(hash(item_id))
        self.refused += 1
        if len(self.refused_items) < MOST_NAMED:
            self.refused_items.append(item_id)


async def make_plan(
    redis: RedisSide,
    archive: ArchiveSide,
    jetstream: JetStreamContext,
    *,
    progress: Callable[[str], None],
    idle_s: float = 0.0,
) -> Plan:
    """Compares all three stores. ``progress`` shows a line. ``idle_s``: see ``Plan``.

    Raises:
        PartitionsDifferError: the stores were filled with another number of partitions.
        redis.exceptions.RedisError, asyncpg.PostgresError, nats.errors.Error, OSError: one is away.
    """
    systems = await read_systems(redis.client, redis.names, archive, jetstream)
    ends = await checked_ends(redis, archive)
    plan = Plan(
        await redis.state(),
        {name: PartitionPlan(ends.get(name, ArchiveEnd())) for name in redis.names},
        systems,
        idle_s=idle_s,
    )
    async for page in archive.pages():
        _check_home(page, ends, partitions=redis.partitions)
        known = await redis.known(record.item_id for record in page)
        departed = await redis.departures.departed(
            [item_id for item_id, has in known.items() if not has.seq]
        )
        for record in page:
            has = known[record.item_id]
            plan.items += 1
            if record.item_id in departed:
                plan.items_departed += 1
                continue
            if not has.seq and plan.leaves(record):
                plan.items_to_leave += 1
                continue
            after = _restored(record, has)
            if after is None:
                plan.refuse(record.item_id)
            elif after != has:
                plan.items_to_put_back += 1
                plan.bids_to_put_back += after.seq - has.seq
        progress(f"{plan.items} archived items compared")
    for name, partition in plan.partitions.items():
        await _plan_tail(plan, partition, name, redis, archive, jetstream, progress)
    return plan


async def checked_ends(redis: RedisSide, archive: ArchiveSide) -> dict[str, ArchiveEnd]:
    """Raises PartitionsDifferError if the archive has a partition that these settings lack."""
    ends = await archive.ends()
    for name in ends:
        if name not in redis.names:
            raise PartitionsDifferError(
                f"the archive has bids of partition {name}, "
                f"which does not exist with PARTITIONS={redis.partitions}"
            )
    return ends


def _check_home(
    records: Sequence[ItemRecord], ends: dict[str, ArchiveEnd], *, partitions: int
) -> None:
    """An empty Redis has lost the number of partitions, but archived items show it.

    Raises:
        PartitionsDifferError: the archive has nothing of an item's partition.
    """
    for record in records:
        home = partition_of(record.item_id, partitions)
        if home not in ends:
            raise PartitionsDifferError(
                f"PARTITIONS={partitions} puts item {record.item_id!r} into {home}, "
                "of which nothing was ever archived: the number has changed"
            )


async def _plan_tail(
    plan: Plan,
    partition: PartitionPlan,
    name: str,
    redis: RedisSide,
    archive: ArchiveSide,
    jetstream: JetStreamContext,
    progress: Callable[[str], None],
) -> None:
    """Keeps one entry per item in memory, and no events."""
    after: dict[str, Known] = {}
    async for batch in batches_after(jetstream, name, partition.end.watermark):
        partition.stream_end = max(
            OutboxId.parse(batch.last), partition.stream_end or OutboxId.parse(batch.last)
        )
        records = list(records_of(batch.events))
        for record in records:
            if partition_of(record.item_id, redis.partitions) != name:
                raise PartitionsDifferError(
                    f"JetStream has item {record.item_id!r} in {name}, but PARTITIONS="
                    f"{redis.partitions} puts it elsewhere: the number has changed"
                )
        new = {record.item_id for record in records} - after.keys()
        after |= await _after_archive(redis, archive, new)
        for record in records:
            then = _restored(record, after[record.item_id])
            if then is None:
                plan.refuse(record.item_id)
            elif then != after[record.item_id]:
                after[record.item_id] = then
                partition.from_stream += 1
                plan.from_stream += 1
        progress(f"{name}: {partition.from_stream} bids to put back from JetStream")


async def _after_archive(
    redis: RedisSide, archive: ArchiveSide, item_ids: Iterable[str]
) -> dict[str, Known]:
    """What Redis will hold of the items once the archive is put back."""
    ids = list(item_ids)
    known = await redis.known(ids)
    for record in await archive.items(ids):
        known[record.item_id] = _restored(record, known[record.item_id]) or known[record.item_id]
    return known


def _restored(record: ItemRecord, has: Known) -> Known | None:
    """The rule of restore_item.lua; ``None`` if it refuses the record."""
    if record.seq <= has.seq:
        return has
    if record.price_cents <= has.price_cents:
        return None
    return Known(record.seq, record.price_cents)
