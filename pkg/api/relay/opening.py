"""The batch by which an opening of Redis begins its epoch in the stream."""

from pkg.api.relay.event_stream import EventStream, StreamFullError
from pkg.auction.outbox import BEGINNING
from pkg.stores.barrier import Tail, barrier_of
from pkg.stores.epochs import Epoch


def all_again(tail: Tail) -> Tail:
    """For an epoch after another one than our last: that history may have gone past ids of bids
    that only we hold. So the relay resumes at the beginning, and who has an event already drops it.
    """
    return tail._replace(last=BEGINNING)


async def publish_opening(stream: EventStream, partition: str, tail: Tail, epoch: Epoch) -> int:
    """Publishes the barrier that begins an epoch; returns its sequence. It ends where the relay has
    to resume: the next id may be an entry that is still to be relayed.

    A full stream is widened for it: without the opening, a relay with a stale read could publish as
    soon as there is room.
    """
    opening = barrier_of(partition, epoch, resume=tail.last)
    try:
        return await stream.publish(partition, opening, expected=tail.sequence)
    except StreamFullError:
        await stream.widen()
        return await stream.publish(partition, opening, expected=tail.sequence)
