"""Which unarchived entries leave the outbox: if it fills up, the oldest, as far as JetStream holds
them. So the outbox and then the stream carry an outage of the archive.
"""

from pkg.auction.outbox import OutboxId
from pkg.stores.barrier import Tail

KEPT_SHARE = 0.5
"""Share of OUTBOX_MAX_ENTRIES up to which unarchived entries stay, also if JetStream holds them."""


def surplus(depth: int, *, max_entries: int) -> int:
    """How many entries are to leave an outbox with ``depth`` entries."""
    return max(0, depth - int(max_entries * KEPT_SHARE))


def held_through(tail: Tail, stored: OutboxId) -> OutboxId:
    """The last entry that may leave: JetStream still says that it holds it, and this relay saw it
    stored there.
    """
    return min(tail.last, stored)
