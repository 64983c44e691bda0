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
    that were published again come with ids known already; whoever reads compares seqs.

    Raises:
        nats.errors.Error, OSError, TimeoutError: NATS is away; what was read so far is true.
    """
    subject = events_subject(partition)
    last = await _message(jetstream, subject, None)
    if last is None or _end_of(last) <= after:
        return
    end = last.seq or 0
    first = (await jetstream.stream_info(STREAM)).state.first_seq
    sequence = await _first_behind(jetstream, subject, after, first=first, end=end)
    while sequence <= end:
        message = await _message(jetstream, subject, sequence)
        if message is None:
            return
        sequence = (message.seq or end) + 1
        try:
            yield decode_batch(message.data or b"")
        except UndecodableError:
            continue  # not the relay's: the archive keeps it as a dead letter


async def _first_behind(
    jetstream: JetStreamContext, subject: str, after: OutboxId, *, first: int, end: int
) -> int:
    """Sequence of a message behind ``after`` whose predecessor is not.

    Ids rise with the sequence but for batches published again, which start anew at a lower id and
    then go through to the newest. So from any such border on, all that is behind ``after`` follows.
    """
    low, bound, found = first - 1, end, end
    while low + 1 < bound:
        middle = (low + bound) // 2
        message = await _message(jetstream, subject, middle)
        sequence = end if message is None else (message.seq or end)
        if message is None or sequence >= found:
            bound = middle
        elif _end_of(message) <= after:
            low = sequence
        else:
            found, bound = sequence, middle
    return found


async def _message(
    jetstream: JetStreamContext, subject: str, sequence: int | None
) -> RawStreamMsg | None:
    """The subject's first message from ``sequence`` on, or its last one."""
    try:
        if sequence is None:
            return await jetstream.get_last_msg(STREAM, subject)
        return await jetstream.get_msg(STREAM, sequence, subject, next=True)
    except NotFoundError:
        return None


def _end_of(message: RawStreamMsg) -> OutboxId:
    try:
        return OutboxId.parse(decode_batch(message.data or b"").last)
    except UndecodableError:
        return BEGINNING
