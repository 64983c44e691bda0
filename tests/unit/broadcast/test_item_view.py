import pytest

from pkg.auction.events import UndecodableError
from pkg.broadcast.item_view import Event

EVENT = (
    '{"kind":"bid","event_id":"e","item_id":"lamp","bid_id":"b","user_id":"ann",'
    '"strategy":"lua","amount":AMOUNT,"previous_bid":0.00,"timestamp":"INSTANT","seq":1}'
)
INSTANT = "2026-01-01T00:00:00.250000Z"


def text(*, amount: str = "200.00", instant: str = INSTANT) -> bytes:
    return EVENT.replace("AMOUNT", amount).replace("INSTANT", instant).encode()


def test_event_is_read_with_its_price_in_cents_and_its_instant_in_utc() -> None:
    event = Event.read(text())

    assert (event.after.price_cents, event.previous_cents) == (20_000, 0)
    assert event.placed_at == pytest.approx(1767225600.25)


@pytest.mark.parametrize("amount", ["1e999999", '"NaN"', '"Infinity"', "1e16"])
def test_event_with_an_amount_out_of_bounds_is_undecodable(amount: str) -> None:
    with pytest.raises(UndecodableError):
        Event.read(text(amount=amount))


def test_event_of_an_unknown_kind_counts_with_its_item_and_seq() -> None:
    event = Event.read(b'{"kind":"extended","item_id":"lamp","seq":7,"until":"noon"}')

    assert (event.item_id, event.seq, event.bid) == ("lamp", 7, None)


@pytest.mark.parametrize(
    "facts", [b'"seq":7', b'"item_id":"lamp"', b'"item_id":"lamp","seq":0', b'"item_id":1,"seq":7']
)
def test_event_of_an_unknown_kind_without_item_or_seq_is_undecodable(facts: bytes) -> None:
    with pytest.raises(UndecodableError):
        Event.read(b'{"kind":"extended",%b}' % facts)


def test_event_with_a_malformed_instant_is_undecodable() -> None:
    with pytest.raises(UndecodableError):
        Event.read(text(instant="yesterday"))
