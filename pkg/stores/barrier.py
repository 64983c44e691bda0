"""The barrier: an empty batch by which an opening of Redis begins its epoch in the stream.

It is fenced like every publish. From then on a relay that has read the outbox before Redis lost
data cannot publish, as its fence names an older message, and batches of older epochs are not of
this history. Read the stream after it, to include what was published before.
"""

from typing import NamedTuple

from nats.js import JetStreamContext
from nats.js.api import Header
from nats.js.errors import NotFoundError

from pkg.auction.events import UndecodableError, UnknownVersionError, encode_batch, end_of_batch
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM, events_subject
from pkg.runtime import logs
from pkg.stores.epochs import Epoch

PUBLISH_TIMEOUT_S = 5.0
STREAM_NOT_FOUND = 10059

log = logs.get("stream")


class Tail(NamedTuple):
    """A subject's last message: its stream sequence, and how it ends (``BatchEnd``)."""

    sequence: int = 0
    last: OutboxId = BEGINNING
    epoch: int = 0
    event: bytes | None = None


async def read_tail(jetstream: JetStreamContext, partition: str) -> Tail:
    """The subject's last message; all zeros if there is none.

    Raises:
        UnknownVersionError: it is of a version without a readable end.
        NotFoundError: there is no stream. nats.errors.Error, OSError, TimeoutError: NATS is away.
    """
    try:
        message = await jetstream.get_last_msg(STREAM, events_subject(partition))
    except NotFoundError as error:
        if error.err_code == STREAM_NOT_FOUND:
            raise
        return Tail()
    sequence = message.seq or 0
    try:
        end = end_of_batch(message.data or b"")
    except UnknownVersionError:
        raise
    except UndecodableError as error:
        # Not ours. Everything is published again; archive and viewers drop duplicates.
        log.warning("the last message is not a batch", partition=partition, why=str(error))
        return Tail(sequence)
    return Tail(sequence, *end)


def barrier_of(partition: str, epoch: Epoch, *, resume: OutboxId) -> bytes:
    """The relay goes on with the entry after ``resume``, so none that is still to be relayed may
    lie before it.
    """
    return encode_batch(partition, prev=resume, last=resume, events=[], epoch=epoch.number)


async def publish_barrier(
    jetstream: JetStreamContext,
    partition: str,
    tail: Tail,
    epoch: Epoch,
    *,
    resume: OutboxId,
) -> int:
    """Returns its stream sequence. Record the epoch in Redis first.

    Raises:
        nats.errors.Error, OSError, TimeoutError: NATS is away, or somebody else published after
            ``tail`` (BadRequestError).
    """
    stored = await jetstream.publish(
        events_subject(partition),
        barrier_of(partition, epoch, resume=resume),
        timeout=PUBLISH_TIMEOUT_S,
        headers={Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(tail.sequence)},
    )
    return stored.seq
