"""One item's events, as they come from NATS. Each bid raises the price by one euro."""

from decimal import Decimal

from pkg.auction.bid import Strategy
from pkg.auction.events import BidEvent
from pkg.broadcast.item_view import Event, ItemView


def event(seq: int, *, branch: str = "a", cents: int | None = None, previous: int = -1) -> Event:
    """Another ``branch`` is another history: it has other bids at the same ``seq``."""
    amount = seq * 100 if cents is None else cents
    bid = bid_event(seq, branch=branch, cents=cents, previous=previous)
    after, before = item_view(seq, branch=branch, cents=amount), int(bid.previous_bid.scaleb(2))
    return Event(bid.item_id, seq, before, 0.0, after, bid)


def bid_event(
    seq: int, *, branch: str = "a", cents: int | None = None, previous: int = -1
) -> BidEvent:
    amount = seq * 100 if cents is None else cents
    before = (seq - 1) * 100 if previous < 0 else previous
    return BidEvent(
        kind="bid",
        event_id=f"{branch}-{seq}",
        item_id="lamp",
        bid_id=f"bid-{branch}-{seq}",
        user_id="ann",
        strategy=Strategy.LUA,
        amount=Decimal(amount).scaleb(-2),
        previous_bid=Decimal(before).scaleb(-2),
        timestamp="2026-01-01T00:00:00.000001Z",
        seq=seq,
    )


def extended(seq: int) -> Event:
    """An event of a kind that only a newer broadcaster knows."""
    return Event.read(b'{"kind":"extended","item_id":"lamp","seq":%d,"until":"noon"}' % seq)


def item_view(seq: int, *, branch: str = "a", cents: int | None = None) -> ItemView:
    price = seq * 100 if cents is None else cents
    return ItemView(seq, price, "ann" if seq else None, "active", f"{branch}-{seq}")
