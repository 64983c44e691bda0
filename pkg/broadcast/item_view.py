"""An item as viewers see it, and the events that change it."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, NamedTuple, Self

import msgspec

from pkg.auction.events import BidEvent, UndecodableError, UnknownVersionError, decode_event
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


class _Counted(msgspec.Struct, frozen=True):
    """What an event of any kind has."""

    item_id: str
    seq: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


_decode_counted = msgspec.json.Decoder(_Counted).decode


class Event(NamedTuple):
    """An accepted event, as it came from NATS."""

    item_id: str
    seq: int
    previous_cents: int
    placed_at: float
    """Seconds since the epoch, by Redis' clock."""

    after: ItemView
    bid: BidEvent | None
    """None for an unknown kind: it takes its ``seq``, and viewers are sent nothing."""

    @classmethod
    def read(cls, raw: bytes | msgspec.Raw) -> Self:
        """Reads one event of a batch.

        Raises:
            UndecodableError: not an event, or with amounts or an instant out of bounds.
        """
        try:
            bid = decode_event(raw)
        except UnknownVersionError:
            return cls._counted(raw)
        try:
            placed_at = datetime.fromisoformat(bid.timestamp).timestamp()
        except ValueError as error:
            raise UndecodableError(f"not an instant: {bid.timestamp!r}") from error
        after = ItemView(bid.seq, _cents(bid.amount), bid.user_id, STATUS_ACTIVE, bid.event_id)
        return cls(bid.item_id, bid.seq, _cents(bid.previous_bid), placed_at, after, bid)

    @classmethod
    def _counted(cls, raw: bytes | msgspec.Raw) -> Self:
        try:
            event = _decode_counted(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise UndecodableError(f"an unknown kind without item_id and seq: {error}") from error
        nothing_known = ItemView.unknown()._replace(seq=event.seq)
        return cls(event.item_id, event.seq, 0, 0.0, nothing_known, None)

    def follows(self, told: ItemView) -> bool:
        """Whether it is the next one after ``told``, of the same history."""
        chains = self.bid is None or self.previous_cents == told.price_cents
        return chains and self.seq == told.seq + 1

    def applied_to(self, told: ItemView) -> Self:
        """Itself, with what viewers know after it. An unknown kind changes only the ``seq``; which
        event Redis names there is not known.
        """
        if self.bid is not None:
            return self
        return self._replace(after=told._replace(seq=self.seq, event_id=None))


def _cents(amount: Decimal) -> int:
    if not amount.is_finite() or amount.adjusted() >= _INTEGER_DIGITS:
        raise UndecodableError(f"not an amount: {amount}")
    return int(amount.scaleb(2))
