"""Puts everything back, then opens Redis. No bid is accepted before that.

Each step compares before it writes, so a restore can be killed and run again, or run twice at once.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from nats.js import JetStreamContext
from nats.js.errors import BadRequestError, NotFoundError
from redis.asyncio import Redis

from pkg.archival.restore.archive_side import ArchiveEnd, ArchiveSide
from pkg.archival.restore.plan import Plan, checked_ends
from pkg.archival.restore.redis_side import RedisSide
from pkg.auction.item import partition_of
from pkg.auction.keys import meta_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.stores.barrier import publish_barrier, read_tail
from pkg.stores.epochs import read_epoch, take_epoch
from pkg.stores.opening import open_partitions, read_opening, require_open
from pkg.stores.putting_back import ItemRecord, PuttingBack, Tally, records_of
from pkg.stores.redis_meta import ARCHIVED_TO, server_run_id
from pkg.stores.stream_tail import batches_after, first_after, is_stored
from pkg.stores.system import adopt_system

_TRIES = 10
_APART_S = 0.05


class RestartedError(Exception):
    """Redis restarted during the restore and may have lost data. It was not opened."""


class RemovedMeanwhileError(Exception):
    """The stream lost messages that the snapshot of the archive may lack. Redis was not opened."""


class OpenedMeanwhileError(Exception):
    """Redis was opened after the plan was made. Nothing was written."""


async def rebuild(
    redis: Redis,
    side: RedisSide,
    archive: ArchiveSide,
    jetstream: JetStreamContext,
    plan: Plan,
    *,
    progress: Callable[[str], None],
) -> Tally:
    """Carries out the plan on a fresh snapshot of the archive, then opens Redis.

    Raises:
        OpenedMeanwhileError, RestartedError: Redis is not in the state it was planned for.
        RemovedMeanwhileError: run it again.
        redis.exceptions.RedisError, asyncpg.PostgresError, nats.errors.Error, OSError: a store is
            away. What was put back stays; Redis is opened last.
    """
    found = await side.state()
    if found.open_on and not found.empty and not plan.redis.open_on:
        raise OpenedMeanwhileError(
            "Redis was opened while restore was planning. Nothing was written; run it again."
        )
    if found.open_on and found.empty:
        await side.close_partitions()
    ends = await checked_ends(side, archive)
    firsts = [
        sequence
        for name in side.names
        if (sequence := await first_after(jetstream, name, ends.get(name, ArchiveEnd()).watermark))
    ]
    putting_back = PuttingBack(redis)
    tally = Tally()
    items = 0
    in_stream = await _items_in_stream(jetstream, ends)
    async for page in archive.pages():
        left = await _left_in_archive(side, page, plan, in_stream)
        for name, records in _by_partition(
            [record for record in page if record.item_id not in left], partitions=side.partitions
        ).items():
            await putting_back.items(name, records, tally)
        items += len(page)
        progress(f"{items} of {plan.items} items put back")
    for name in side.names:
        end = ends.get(name, ArchiveEnd())
        progress(f"{name}: reading newer bids from JetStream")
        await begin_epoch(redis, jetstream, name, highest=end.highest)
        tail = await putting_back.stream_tail(jetstream, name, end.watermark)
        tally.put_back += tail.put_back
        tally.refused += tail.refused
        await putting_back.move_outbox(name, end.highest)
        await redis.hset(meta_key(name), ARCHIVED_TO, str(end.watermark))
    if not all([await is_stored(jetstream, sequence) for sequence in firsts]):
        raise RemovedMeanwhileError(
            "The archive took bids during the restore that JetStream then removed: run it again."
        )
    if await server_run_id(redis) != found.run_id:
        raise RestartedError(
            "Redis restarted during the restore and may have lost data: run it again."
        )
    if plan.systems.agreed is not None:
        await adopt_system(redis, side.names, plan.systems.agreed)
    await open_all(redis, side, found.run_id)
    return tally


async def _items_in_stream(jetstream: JetStreamContext, ends: Mapping[str, ArchiveEnd]) -> set[str]:
    """Items with bids that are not archived yet: they are put back with what the archive has."""
    return {
        record.item_id
        for name, end in ends.items()
        async for batch in batches_after(jetstream, name, end.watermark)
        for record in records_of(batch.events)
    }


async def _left_in_archive(
    side: RedisSide, page: Sequence[ItemRecord], plan: Plan, in_stream: set[str]
) -> set[str]:
    """The items of the page that stay in the archive, marked as departed."""
    known = await side.known(record.item_id for record in page)
    missing = [each for each in page if not known[each.item_id].seq]
    missing = [each for each in missing if each.item_id not in in_stream]
    departed = await side.departures.departed([each.item_id for each in missing])
    idle = [each.item_id for each in missing if plan.leaves(each)]
    marked = await side.departures.mark([each for each in idle if each not in departed])
    return departed | marked


async def open_all(redis: Redis, side: RedisSide, run_id: str) -> None:
    """Raises NotOpenError if concurrent restores keep opening some of the partitions."""
    for _ in range(_TRIES):
        if (await read_opening(redis, side.names)).open:
            return
        await open_partitions(redis, side.names, run_id, partitions=side.partitions)
        await asyncio.sleep(random.uniform(0, _APART_S))  # noqa: S311 - jitter
    await require_open(redis, side.names)


async def begin_epoch(
    redis: Redis, jetstream: JetStreamContext, partition: str, *, highest: OutboxId
) -> OutboxId:
    """Raises the barrier at the end of the stream or at ``highest``, the highest id in the archive;
    returns the higher of both. If the stream's end is another history's, the entries that Redis
    still holds may lie before it: then the relay is to start at the beginning.

    Raises:
        UnknownVersionError: the stream's last message is a newer program's.
        nats.errors.Error: NATS is away, or others keep publishing.
    """
    own = await read_epoch(redis, partition)
    holds_entries = bool(await redis.xlen(outbox_key(partition)))
    for tries_left in reversed(range(_TRIES)):
        try:
            tail = await read_tail(jetstream, partition)
        except NotFoundError:
            await take_epoch(redis, partition)  # the relay publishes it once it has made the stream
            return highest
        epoch = await take_epoch(redis, partition, after=tail.epoch)
        resume = max(tail.last, highest)
        if holds_entries and (tail.epoch != own.number or tail.last == BEGINNING):
            resume = BEGINNING
        try:
            await publish_barrier(jetstream, partition, tail, epoch, resume=resume)
        except BadRequestError:
            if not tries_left:
                raise
        else:
            break
    return max(tail.last, highest)


def _by_partition(page: list[ItemRecord], *, partitions: int) -> dict[str, list[ItemRecord]]:
    homes: dict[str, list[ItemRecord]] = defaultdict(list)
    for record in page:
        homes[partition_of(record.item_id, partitions)].append(record)
    return homes
