import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.auction.bid import Bid, Strategy
from pkg.auction.events import (
    UndecodableError,
    UnknownVersionError,
    decode_batch,
    decode_event,
    decode_watermark,
    encode_batch,
    encode_watermark,
    end_of_batch,
    event_head,
    event_tail,
)
from pkg.auction.ids import uuid7
from pkg.auction.money import MAX_CENTS
from pkg.auction.outbox import BEGINNING, OutboxId

identifiers = st.from_regex(r"[A-Za-z0-9._:-]{1,128}", fullmatch=True)
outbox_ids = st.builds(OutboxId, st.integers(0, 2**48), st.integers(0, 2**32))


@given(
    item_id=identifiers,
    user_id=identifiers,
    amount=st.integers(1, MAX_CENTS),
    previous=st.integers(0, MAX_CENTS),
    seq=st.integers(1, 2**53),
    strategy=st.sampled_from(Strategy),
)
def test_event_holds_the_fields_of_its_bid(
    item_id: str, user_id: str, amount: int, previous: int, seq: int, strategy: Strategy
) -> None:
    bid = Bid(item_id, user_id, amount, event_id=uuid7(), bid_id=uuid7())

    data = event_head(bid, strategy) + event_tail(
        previous_cents=previous, timestamp="2026-02-28T23:59:59.000001Z", seq=seq
    )

    event = decode_event(data)
    assert (event.item_id, event.user_id, event.event_id) == (item_id, user_id, bid.event_id)
    assert event.amount == Decimal(amount) / 100
    assert event.previous_bid == Decimal(previous) / 100
    assert (event.seq, event.strategy, event.bid_id) == (seq, strategy, bid.bid_id)
    assert set(json.loads(data)) == {
        *("kind", "event_id", "item_id", "bid_id", "user_id", "strategy"),
        *("amount", "previous_bid", "timestamp", "seq"),
    }


@given(prev=outbox_ids, last=outbox_ids, events=st.lists(st.just(b'{"kind":"bid"}'), max_size=5))
def test_batch_survives_encoding_and_decoding(
    prev: OutboxId, last: OutboxId, events: list[bytes]
) -> None:
    batch = decode_batch(encode_batch("p03", prev=prev, last=last, events=events))

    assert (OutboxId.parse(batch.prev), OutboxId.parse(batch.last)) == (prev, last)
    assert (batch.partition, [bytes(each) for each in batch.events]) == ("p03", events)


def test_one_bad_event_does_not_hide_the_others_of_its_batch() -> None:
    batch = decode_batch(
        encode_batch("p00", prev=OutboxId(0, 0), last=OutboxId(1, 0), events=[b"{}", b'{"a":1}'])
    )

    assert [bytes(each) for each in batch.events] == [b"{}", b'{"a":1}']


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"v":1,"partition":"p00","prev":"0","last":"1-0","events":[]}',
        b'{"v":1,"partition":"p00","prev":"0-0","last":"-1-0","events":[]}',
        b'{"v":1,"partition":"p00","prev":"0-0","last":"1-0"}',
    ],
)
def test_data_that_is_not_a_batch_is_undecodable(data: bytes) -> None:
    with pytest.raises(UndecodableError):
        decode_batch(data)


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_undecodable_error(data: bytes) -> None:
    for decode in (decode_batch, decode_event, decode_watermark):
        with pytest.raises(UndecodableError):
            decode(data)


def test_event_of_an_unknown_kind_is_told_from_one_that_nobody_can_read() -> None:
    with pytest.raises(UnknownVersionError, match="events of kind 'closed'"):
        decode_event(msgspec.Raw(b'{"kind":"closed","item_id":"a","seq":1}'))


def test_batch_of_an_unknown_version_is_told_from_one_that_nobody_can_read() -> None:
    with pytest.raises(UnknownVersionError, match="events of version 2"):
        decode_batch(b'{"v":2,"anything":"else"}')


def test_end_of_a_batch_is_read_whatever_its_version() -> None:
    assert end_of_batch(b'{"v":2,"last":"7-1","anything":"else"}') == (OutboxId(7, 1), 0, None)
    with pytest.raises(UnknownVersionError):
        end_of_batch(b'{"v":2,"last":"the seventh"}')
    with pytest.raises(UndecodableError, match="not a batch"):
        end_of_batch(b'{"v":1,"last":"7-1"}')


def test_unknown_fields_are_ignored() -> None:
    batch = b'{"v":1,"new":[],"partition":"p00","prev":"0-0","last":"1-0","events":[]}'

    assert decode_batch(batch).last == "1-0"


def test_batch_is_no_watermark() -> None:
    """It names what was published, not what is archived: trimming by it would lose bids."""
    batch = encode_batch("p01", prev=BEGINNING, last=OutboxId(7, 0), events=[], epoch=3)

    with pytest.raises(UndecodableError, match="not a watermark"):
        decode_watermark(batch)


@given(outbox_ids)
def test_watermark_survives_encoding_and_decoding(last: OutboxId) -> None:
    assert decode_watermark(encode_watermark("p01", last)) == ("p01", last, 0)
