"""Messages to viewers as whole WebSocket frames, built once and written to many."""

from decimal import Decimal
from typing import Literal

import msgspec

from pkg.auction.events import BidEvent
from pkg.auction.money import text_from_cents
from pkg.broadcast.item_view import ItemView

GOING_AWAY = 1001
POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013

_FINAL_TEXT = 0x81
_FINAL_CLOSE = 0x88
_LENGTH_IN_2_BYTES = 126
_LENGTH_IN_8_BYTES = 127

_json = msgspec.json.Encoder(decimal_format="number").encode


class _Bid(msgspec.Struct):
    event_id: str
    item_id: str
    bid_id: str
    user_id: str
    amount: Decimal
    previous_bid: Decimal
    timestamp: str
    seq: int


class _Connected(msgspec.Struct, rename={"item_id": "itemId", "client_id": "clientId"}):
    type: Literal["connected"]
    item_id: str
    client_id: str
    seq: int
    current_bid: Decimal
    highest_bidder_id: str | None
    status: str
    epoch: int


class _Snapshot(msgspec.Struct, rename={"item_id": "itemId"}, omit_defaults=True):
    type: str  # no default, so that it is always sent
    item_id: str
    seq: int
    current_bid: Decimal
    highest_bidder_id: str | None
    status: str
    skipped: int | None = None
    reset: bool = False


def bid(event: BidEvent) -> bytes:
    return text(
        _json(
            _Bid(
                event_id=event.event_id,
                item_id=event.item_id,
                bid_id=event.bid_id,
                user_id=event.user_id,
                amount=event.amount,
                previous_bid=event.previous_bid,
                timestamp=event.timestamp,
                seq=event.seq,
            )
        )
    )


def connected(item_id: str, client_id: str, item: ItemView, *, epoch: int) -> bytes:
    """``epoch``: the history of Redis that the item's seqs count in."""
    return text(
        _json(
            _Connected(
                type="connected",
                item_id=item_id,
                client_id=client_id,
                seq=item.seq,
                current_bid=Decimal(text_from_cents(item.price_cents)),
                highest_bidder_id=item.bidder,
                status=item.status,
                epoch=epoch,
            )
        )
    )


def snapshot(
    item_id: str, item: ItemView, *, skipped: int | None = None, reset: bool = False
) -> bytes:
    """``skipped``: events the viewer was not sent. ``reset``: the state was set back."""
    return text(
        _json(
            _Snapshot(
                type="snapshot",
                item_id=item_id,
                seq=item.seq,
                current_bid=Decimal(text_from_cents(item.price_cents)),
                highest_bidder_id=item.bidder,
                status=item.status,
                skipped=skipped,
                reset=reset,
            )
        )
    )


def text(payload: bytes) -> bytes:
    """An unmasked, unfragmented text frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < _LENGTH_IN_2_BYTES:
        return bytes((_FINAL_TEXT, size)) + payload
    if size <= 0xFFFF:  # noqa: PLR2004 - what two bytes hold
        return bytes((_FINAL_TEXT, _LENGTH_IN_2_BYTES)) + size.to_bytes(2, "big") + payload
    return bytes((_FINAL_TEXT, _LENGTH_IN_8_BYTES)) + size.to_bytes(8, "big") + payload


def close(code: int) -> bytes:
    return bytes((_FINAL_CLOSE, 2)) + code.to_bytes(2, "big")
