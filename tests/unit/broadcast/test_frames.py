import json
from decimal import Decimal

import pytest

from pkg.broadcast import frames
from tests.unit.broadcast.history import bid_event, item_view


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_length_is_encoded_in_1_3_or_9_bytes(size: int, head: bytes) -> None:
    payload = b"x" * size

    assert frames.text(payload) == head + payload


def test_close_frame_carries_its_code() -> None:
    assert frames.close(1013) == b"\x88\x02\x03\xf5"


def test_bid_has_its_eight_fields_in_order_and_exact_amounts() -> None:
    payload = frames.bid(bid_event(2, cents=999_999_999_999, previous=10))[4:]

    assert payload == (
        b'{"event_id":"a-2","item_id":"lamp","bid_id":"bid-a-2","user_id":"ann",'
        b'"amount":9999999999.99,"previous_bid":0.10,'
        b'"timestamp":"2026-01-01T00:00:00.000001Z","seq":2}'
    )


def test_amounts_of_snapshots_have_two_decimals() -> None:
    payload = frames.snapshot("lamp", item_view(3, cents=30_000))[2:]

    assert b'"current_bid":300.00,' in payload


def test_snapshot_has_skipped_and_reset_only_when_given() -> None:
    def decoded(*, skipped: int | None = None, reset: bool = False) -> dict[str, object]:
        frame = frames.snapshot("lamp", item_view(3), skipped=skipped, reset=reset)
        message: dict[str, object] = json.loads(frame[2 if frame[1] < 126 else 4 :])
        return message

    assert decoded(skipped=0)["skipped"] == 0
    assert decoded(skipped=7)["skipped"] == 7
    assert decoded(reset=True)["reset"] is True
    assert set(decoded()) == {
        *("type", "itemId", "seq", "current_bid", "highest_bidder_id", "status")
    }


def test_ids_are_escaped() -> None:
    odd = bid_event(1)
    payload = frames.connected('la"mp', "c\\1", item_view(1), epoch=7)[4:]

    assert json.loads(payload, parse_float=Decimal)["itemId"] == 'la"mp'
    assert frames.bid(odd).endswith(b'"seq":1}')
