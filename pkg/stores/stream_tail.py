"""Reads from the stream what Redis may have lost: a partition's events after an outbox id."""

from collections.abc import AsyncIterator

from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from pkg.auction.events import Batch, UndecodableError, UnknownVersionError, decode_batch
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM, events_subject


async def batches_after(
    jetstream: JetStreamContext, partition: str, after: OutboxId
) -> AsyncIterator[Batch]:
    """Yields batches with every stored event that follows ``after``, and maybe earlier ones.

    The first is found by bisection of ids, not by time: the clocks of Redis and NATS may differ.
    Republished batches repeat ids, so the caller must compare seqs. Messages that are not a batch
    of the partition are skipped: the archive keeps them as dead letters.

    Ids rise with the stream's sequence, except that republished batches restart at a lower id and
    run up to the newest. Nothing is found if Redis loses data during such a republication and
    the last batch published by then ends at or before ``after``.

    Raises:
        UnknownVersionError: only a newer program can read them all; what was yielded is valid.
        nats.errors.Error, OSError, TimeoutError: NATS is away; what was yielded is valid.
    """
    async for _, batch in _stored_after(jetstream, partition, after):
        yield batch


async def first_after(jetstream: JetStreamContext, partition: str, after: OutboxId) -> int | None:
    """Stream sequence of the first of ``batches_after``; raises what that does."""
    async for sequence, _ in _stored_after(jetstream, partition, after):
        return sequence
    return None


async def is_stored(jetstream: JetStreamContext, sequence: int) -> bool:
    """If so, no later message of its subject was purged either. Raises nats.errors.Error."""
    try:
        await jetstream.get_msg(STREAM, sequence)
    except NotFoundError:
        return False
    return True


async def _stored_after(
    jetstream: JetStreamContext, partition: str, after: OutboxId
) -> AsyncIterator[tuple[int, Batch]]:
    subject = events_subject(partition)
    last = await _last(jetstream, subject)
    if last is None:
        return
    end = last.seq or 0
    newest = _batch(last, subject)
    if newest is not None and _end_of(newest) <= after:
        return
    first = (await jetstream.stream_info(STREAM)).state.first_seq
    sequence = await _first_after(jetstream, subject, after, first=first, end=end)
    while found := await _next_batch(jetstream, subject, sequence, end):
        sequence = found[0] + 1
        yield found


async def begins_behind(
    jetstream: JetStreamContext, partition: str, after: OutboxId, *, archived_to: OutboxId
) -> bool:
    """Whether events between ``after`` and the first of ``batches_after`` are or may be missing.

    A batch whose ``prev`` is BEGINNING does not show whether entries preceded it: it may be the
    first of a new system, or of a stream that was lost and republished. In the second case, the
    stream may lack events after ``after`` that the archive has.
    """
    async for batch in batches_after(jetstream, partition, after):
        if OutboxId.parse(batch.prev) == BEGINNING:
            return archived_to > after > BEGINNING
        return OutboxId.parse(batch.prev) > after
    return False


async def _first_after(
    jetstream: JetStreamContext, subject: str, after: OutboxId, *, first: int, end: int
) -> int:
    """Sequence of a batch that ends after ``after``, unlike the batch before it.

    There may be several; every event that follows ``after`` is stored from any of them on.
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
    """The partition's first batch from ``sequence`` to ``end`` inclusive, with its sequence."""
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
    except UnknownVersionError:
        raise
    except UndecodableError:
        return None
    if events_subject(batch.partition) != subject or _end_of(batch) == BEGINNING:
        return None
    return batch


def _end_of(batch: Batch) -> OutboxId:
    return OutboxId.parse(batch.last)
