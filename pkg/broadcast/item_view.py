"""An item as viewers see it, and the events that change it."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Self

import msgspec

from pkg.auction.events import BidEvent, UndecodableError, decode_event
from pkg.auction.item import STATUS_ACTIVE, ItemState

_INTEGER_DIGITS = 16  # numeric(18,2); never multiply out a giant exponent


class ItemView(NamedTuple):
    """The part of an item's state that viewers are told."""

    seq: int
    price_cents: int
    bidder: str | None
    status: str
    event_id: str | None

    @classmethod
    def of(cls, state: ItemState) -> Self:
        return cls(state.seq, state.price_cents, state.bidder, state.status, state.event_id)

    @classmethod
    def unknown(cls) -> Self:
        """Before Redis was read: like an item without bids."""
        return cls.of(ItemState())

    def differs_from(self, other: "ItemView") -> bool:
        """Whether two histories gave this ``seq`` to different bids."""
        return (
            self.seq == other.seq
            and self.event_id is not None
            and other.event_id is not None
            and self.event_id != other.event_id
        )

    def contradicts(self, told: "ItemView") -> bool:
        """Whether Redis, read after ``told`` was told, holds less or something else."""
        return self.seq < told.seq or self.differs_from(told)


class Event(NamedTuple):
    """An accepted bid, as it came from NATS."""

    seq: int
    previous_cents: int
    placed_at: float
    """Seconds since the epoch, by Redis' clock."""

    after: ItemView
    bid: BidEvent

    @classmethod
    def read(cls, raw: bytes | msgspec.Raw) -> Self:
        """Reads one event of a batch.

        Raises:
            UndecodableError: not an event of a known kind, or with amounts or an instant out of
                bounds.
        """
        bid = decode_event(raw)
        try:
            placed_at = datetime.fromisoformat(bid.timestamp).timestamp()
        except ValueError as error:
            raise UndecodableError(f"not an instant: {bid.timestamp!r}") from error
        after = ItemView(bid.seq, _cents(bid.amount), bid.user_id, STATUS_ACTIVE, bid.event_id)
        return cls(bid.seq, _cents(bid.previous_bid), placed_at, after, bid)


def _cents(amount: Decimal) -> int:
    if not amount.is_finite() or amount.adjusted() >= _INTEGER_DIGITS:
        raise UndecodableError(f"not an amount: {amount}")
    return int(amount.scaleb(2))
