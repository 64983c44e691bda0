"""Reads back what the stream holds of a partition behind an outbox id: what Redis may have lost."""

from collections.abc import AsyncIterator

from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from pkg.auction.events import Batch, UndecodableError, decode_batch
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM, events_subject


async def batches_after(
    jetstream: JetStreamContext, partition: str, after: OutboxId
) -> AsyncIterator[Batch]:
    """Batches that together hold every stored event behind ``after``, and maybe some before it.

    The first is found by bisection, not by time: the clocks of Redis and NATS may differ. Batches
    that were published again come with ids known already; whoever reads compares seqs. What is no
    batch of the partition is passed over: the archive keeps it as a dead letter.

    Ids rise with the sequence but for batches published again, which start anew at a lower id and
    go through to the newest. Only a Redis that forgets while that is under way, with all that came
    again so far at or before ``after``, would not get back what lies behind it.

    Raises:
        nats.errors.Error, OSError, TimeoutError: NATS is away; what was read so far is true.
    """
    subject = events_subject(partition)
    last = await _last(jetstream, subject)
    if last is None:
        return
    end = last.seq or 0
    newest = _batch(last, subject)
    if newest is not None and _end_of(newest) <= after:
        return
    first = (await jetstream.stream_info(STREAM)).state.first_seq
    sequence = await _first_behind(jetstream, subject, after, first=first, end=end)
    while found := await _next_batch(jetstream, subject, sequence, end):
        sequence, batch = found
        sequence += 1
        yield batch


async def begins_behind(
    jetstream: JetStreamContext, partition: str, after: OutboxId, *, archived_to: OutboxId
) -> bool:
    """Whether something is missing, or may be, between ``after`` and what ``batches_after`` gives.

    A batch from the outbox's oldest entry says nothing of what was there before it. Such a one
    begins the stream of a new system, and also the one that was lost and published again: then
    what the archive has beyond ``after`` may be in the archive alone.
    """
    async for batch in batches_after(jetstream, partition, after):
        if OutboxId.parse(batch.prev) == BEGINNING:
            return archived_to > after > BEGINNING
        return OutboxId.parse(batch.prev) > after
    return False


async def _first_behind(
    jetstream: JetStreamContext, subject: str, after: OutboxId, *, first: int, end: int
) -> int:
    """Sequence of a batch behind ``after`` whose predecessor is not.

    From any such border on, all that is behind ``after`` follows.
    """
    low, bound, border = first - 1, end, end
    while low + 1 < bound:
        middle = (low + bound) // 2
        found = await _next_batch(jetstream, subject, middle, border - 1)
        if found is None:
            bound = middle
        elif _end_of(found[1]) <= after:
            low = found[0]
        else:
            border, bound = found[0], middle
    return border


async def _next_batch(
    jetstream: JetStreamContext, subject: str, sequence: int, end: int
) -> tuple[int, Batch] | None:
    """The partition's first batch from ``sequence`` up to and with ``end``, with its sequence."""
    while sequence <= end:
        try:
            message = await jetstream.get_msg(STREAM, sequence, subject, next=True)
        except NotFoundError:
            return None
        found = message.seq or 0
        if found > end:
            return None
        batch = _batch(message, subject)
        if batch is not None:
            return found, batch
        sequence = found + 1
    return None


async def _last(jetstream: JetStreamContext, subject: str) -> RawStreamMsg | None:
    try:
        return await jetstream.get_last_msg(STREAM, subject)
    except NotFoundError:
        return None


def _batch(message: RawStreamMsg, subject: str) -> Batch | None:
    try:
        batch = decode_batch(message.data or b"")
    except UndecodableError:
        return None
    if events_subject(batch.partition) != subject or _end_of(batch) == BEGINNING:
        return None
    return batch


def _end_of(batch: Batch) -> OutboxId:
    return OutboxId.parse(batch.last)
