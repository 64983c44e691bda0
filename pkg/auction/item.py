"""An item's state as Redis holds it, and the partition an item belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

STATUS_ACTIVE = "active"

# The hash fields of an item, in the order in which ItemState.from_redis expects their values.
# place_bid.lua and the optimistic strategy write the same names.
FIELDS = ("price", "bidder", "seq", "count", "event_id", "opened_at")


def partition_of(item_id: str, partitions: int) -> str:
    """The item's partition, ``p00`` and up: ``crc32(item_id) % partitions``."""
    return partition_name(crc32(item_id.encode()) % partitions)


def partition_name(number: int) -> str:
    return f"p{number:02d}"


def partition_names(partitions: int) -> list[str]:
    return [partition_name(number) for number in range(partitions)]


@dataclass(frozen=True, slots=True)
class ItemState:
    """The state of one item. An item without bids has seq 0 and price 0."""

    price_cents: int = 0
    bidder: str | None = None
    seq: int = 0
    count: int = 0
    event_id: str | None = None
    opened_at: str | None = None
    status: str = STATUS_ACTIVE

    @classmethod
    def from_redis(cls, values: Sequence[bytes | None]) -> "ItemState":
        """From the values of FIELDS, in that order; all ``None`` for an item without bids."""
        price, bidder, seq, count, event_id, opened_at = values
        return cls(
            price_cents=int(price or 0),
            bidder=bidder.decode() if bidder else None,
            seq=int(seq or 0),
            count=int(count or 0),
            event_id=event_id.decode() if event_id else None,
            opened_at=opened_at.decode() if opened_at else None,
        )
