"""Puts everything back, then opens Redis. No bid is accepted before that.

Each step compares before it writes, so a restore can be killed and run again, or run twice at once.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable

from nats.js import JetStreamContext
from nats.js.api import Header
from nats.js.errors import BadRequestError, NotFoundError
from redis.asyncio import Redis

from pkg.archival.restore.archive_side import ArchiveEnd, ArchiveSide
from pkg.archival.restore.plan import Plan, checked_ends
from pkg.archival.restore.redis_side import RedisSide
from pkg.auction.events import UndecodableError, decode_batch, encode_batch
from pkg.auction.item import partition_of
from pkg.auction.keys import meta_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM, events_subject
from pkg.stores.epochs import read_epoch, record_epoch
from pkg.stores.putting_back import ItemRecord, PuttingBack, Tally
from pkg.stores.redis_meta import ARCHIVED_TO, open_partitions, require_open, server_run_id

_TRIES = 10
_APART_S = 0.05
_STREAM_NOT_FOUND = 10059


class RestartedError(Exception):
    """Redis restarted during the restore and may have lost data. It was not opened."""


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
    putting_back = PuttingBack(redis)
    tally = Tally()
    items = 0
    async for page in archive.pages():
        for name, records in _by_partition(page, partitions=side.partitions).items():
            await putting_back.items(name, records, tally)
        items += len(page)
        progress(f"{items} of {plan.items} items put back")
    for name in side.names:
        end = ends.get(name, ArchiveEnd())
        progress(f"{name}: reading newer bids from JetStream")
        await _begin_epoch(redis, jetstream, name, highest=end.highest)
        tail = await putting_back.stream_tail(jetstream, name, end.watermark)
        tally.put_back += tail.put_back
        tally.refused += tail.refused
        await putting_back.move_outbox(name, end.highest)
        await redis.hset(meta_key(name), ARCHIVED_TO, str(end.watermark))
    if await server_run_id(redis) != found.run_id:
        raise RestartedError(
            "Redis restarted during the restore and may have lost data: run it again."
        )
    await _open(redis, side, found.run_id)
    return tally


async def _open(redis: Redis, side: RedisSide, run_id: str) -> None:
    """Raises NotOpenError if concurrent restores keep opening some of the partitions."""
    for _ in range(_TRIES):
        if await side.is_open():
            return
        await open_partitions(redis, side.partitions, run_id)
        await asyncio.sleep(random.uniform(0, _APART_S))  # noqa: S311 - jitter
    await require_open(redis, side.partitions)


async def _begin_epoch(
    redis: Redis, jetstream: JetStreamContext, partition: str, *, highest: OutboxId
) -> None:
    """Takes a new epoch and publishes an empty batch with it: a relay that read the outbox before
    Redis lost data can no longer publish, as its fence expects an older message. Read the stream
    after this, to include what it published before. ``highest`` is the highest id in the archive.

    Raises:
        nats.errors.Error: NATS is away, or others keep publishing.
    """
    for tries_left in reversed(range(_TRIES)):
        sequence, last, newest = 0, BEGINNING, 0
        try:
            message = await jetstream.get_last_msg(STREAM, events_subject(partition))
            batch = decode_batch(message.data or b"")
            sequence, last, newest = message.seq or 0, OutboxId.parse(batch.last), batch.epoch
        except NotFoundError as error:
            if error.err_code == _STREAM_NOT_FOUND:
                # The relay publishes the epoch once it has created the stream.
                await record_epoch(redis, partition, (await read_epoch(redis, partition)).next())
                return
        except UndecodableError:
            sequence = message.seq or 0
        end = max(last, highest)
        epoch = (await read_epoch(redis, partition)).next(after=newest)
        await record_epoch(redis, partition, epoch)
        try:
            await jetstream.publish(
                events_subject(partition),
                encode_batch(partition, prev=end, last=end, events=[], epoch=epoch.number),
                headers={Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(sequence)},
            )
        except BadRequestError:
            if not tries_left:
                raise
        else:
            return


def _by_partition(page: list[ItemRecord], *, partitions: int) -> dict[str, list[ItemRecord]]:
    homes: dict[str, list[ItemRecord]] = defaultdict(list)
    for record in page:
        homes[partition_of(record.item_id, partitions)].append(record)
    return homes
