import copy
import json
import time
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkg.archival.epochs import Origin
from pkg.archival.intake import MAX_AHEAD_S, Portion, archivable
from pkg.archival.watermark import Stretch
from pkg.auction.bid import Bid, Strategy
from pkg.auction.events import (
    MAX_EPOCH_AHEAD_US,
    UndecodableError,
    UnknownVersionError,
    encode_batch,
    event_head,
    event_tail,
)
from pkg.auction.outbox import OutboxId
from pkg.auction.subjects import SUPERSEDED, events_subject

EVENT_ID = "019a0000-0000-7000-8000-000000000001"
BID_ID = "019a0000-0000-7000-8000-000000000002"
PREV, LAST = OutboxId(5, 0), OutboxId(9, 3)


def event(**changes: object) -> bytes:
    """A valid event's JSON with some fields changed; ``None`` leaves the field out."""
    bid = Bid("lamp", "ann", 1050, EVENT_ID, BID_ID)
    made = event_head(bid, Strategy.LUA) + event_tail(
        previous_cents=1000, timestamp="2026-01-02T03:04:05.000006Z", seq=7
    )
    if not changes:
        return made
    fields = json.loads(made, parse_float=lambda text: text)
    parts = []
    for name, value in {**fields, **changes}.items():
        if value is None:
            continue
        raw = value if name in {"amount", "previous_bid"} and isinstance(value, str) else None
        parts.append(f"{json.dumps(name)}:{raw if raw is not None else json.dumps(value)}")
    return f"{{{','.join(parts)}}}".encode()


def message(*events: bytes, partition: str = "p01") -> bytes:
    return encode_batch(partition, prev=PREV, last=LAST, events=events)


def portion_of(data: bytes, subject: str = "bid.events.p01") -> Portion:
    portion = Portion()
    portion.add(subject, data)
    return portion


def test_a_batch_that_covers_events_without_holding_any_moves_no_watermark() -> None:
    portion = portion_of(encode_batch("p01", prev=PREV, last=LAST, events=[]))

    assert [letter.reason for letter in portion.dead_letters] == ["undecodable"]
    assert not portion.batches


def test_valid_batch_yields_its_events_as_published_and_its_stretch() -> None:
    portion = portion_of(message(event(), event(seq=8)))

    assert [each.seq for each in portion.events] == [7, 8]
    assert portion.events[0].text == event().decode()
    assert portion.batches == [(Origin("p01", 0, 0), Stretch(PREV, LAST))]
    assert not portion.dead_letters


def test_barrier_is_not_a_dead_letter() -> None:
    portion = portion_of(encode_batch("p01", prev=LAST, last=LAST, events=[]))

    assert len(portion) == 0
    assert not portion.batches


BAD_EVENTS: dict[str, dict[str, Any]] = {
    "three decimals, which numeric would round": {"amount": "10.505"},
    "an amount of zero": {"amount": "0.00"},
    "a negative amount": {"amount": "-1.00"},
    "an amount beyond the maximum": {"amount": "10000000000.00"},
    "an amount of many digits": {"amount": "1.0000000000000000000000000000000001"},
    "an exponent of a thousand million": {"amount": "1e999999999"},
    "an exponent of minus a thousand million": {"amount": "1e-999999999"},
    "an amount that is not a number": {"amount": '"NaN"'},
    "an infinite amount": {"amount": '"Infinity"'},
    "a previous bid with three decimals": {"previous_bid": "1.001"},
    "a seq of zero": {"seq": 0},
    "a seq beyond bigint": {"seq": 2**63},
    "a seq of forty digits": {"seq": 10**40},
    "no seq": {"seq": None},
    "a NUL in the user": {"user_id": "an\0n"},
    "an item that is not an identifier": {"item_id": "a lamp"},
    "an item too long for an index": {"item_id": "x" * 9000},
    "an event id that is not a UUID": {"event_id": "17"},
    "a bid id in braces": {"bid_id": f"{{{BID_ID}}}"},
    "a timestamp that is a word": {"timestamp": "yesterday"},
    "a timestamp that PostgreSQL would evaluate": {"timestamp": "now"},
    "a timestamp without a zone": {"timestamp": "2026-01-02T03:04:05.000006"},
    "a thirteenth month": {"timestamp": "2026-13-02T03:04:05.000006Z"},
    "an unknown strategy": {"strategy": "guess"},
    "a kind that is no text": {"kind": 7},
    "no kind": {"kind": None},
}


@pytest.mark.parametrize("changes", BAD_EVENTS.values(), ids=BAD_EVENTS.keys())
def test_event_that_the_columns_cannot_hold_becomes_a_dead_letter_without_its_batch(
    changes: dict[str, Any],
) -> None:
    bad = event(**changes)

    portion = portion_of(message(event(), bad))

    assert len(portion.events) == 1
    assert [(each.reason, each.payload) for each in portion.dead_letters] == [("bad_event", bad)]
    assert portion.batches == [(Origin("p01", 0, 0), Stretch(PREV, LAST))]


def test_dead_letter_names_its_event() -> None:
    (letter,) = portion_of(message(event(amount="10.505"))).dead_letters

    assert (letter.partition, letter.item_id, letter.seq) == ("p01", "lamp", 7)
    assert letter.event_id == EVENT_ID
    assert "two decimals" in letter.error


def test_dead_letter_omits_facts_that_its_columns_would_refuse() -> None:
    bad = event(item_id="la\0mp", seq=2**64, event_id="\0")

    (letter,) = portion_of(message(bad)).dead_letters

    assert (letter.item_id, letter.seq, letter.event_id) == (None, None, None)


def test_text_that_is_not_utf8_in_an_unknown_field_is_a_dead_letter() -> None:
    portion = portion_of(message(event()[:-1] + b',"note":"\xff"}'))

    assert not portion.events
    assert len(portion.dead_letters) == 1


GARBAGE = {
    "empty": b"",
    "not JSON": b"garbage",
    "truncated": message(event())[:-9],
    "a list": b"[1,2]",
    "nested beyond any stack": b"[" * 100_000,
    "ids that do not parse": message().replace(b'"5-0"', b'"yesterday"'),
    "ids that run backwards": message().replace(b'"5-0"', b'"10-0"'),
    "ids beyond bigint": message().replace(b'"9-3"', b'"9223372036854775808-0"'),
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_unreadable_message_is_kept_whole_and_the_watermark_waits(data: bytes) -> None:
    portion = portion_of(data)

    assert [(each.reason, each.payload) for each in portion.dead_letters] == [("undecodable", data)]
    assert not portion.batches


NEWER = {
    "a version": (message(event()).replace(b'"v":1', b'"v":2'), "events of version 2"),
    "a version with another envelope": (b'{"v":2,"parts":[]}', "events of version 2"),
    "a kind": (message(event(), event(kind="extended")), "events of kind 'extended'"),
    "a kind with other fields": (
        message(event(amount="10.505"), b'{"kind":"extended","until":"noon"}'),
        "events of kind 'extended'",
    ),
}


@pytest.mark.parametrize(("data", "what"), NEWER.values(), ids=NEWER.keys())
def test_message_of_a_newer_program_is_refused_and_nothing_of_it_is_taken(
    data: bytes, what: str
) -> None:
    portion = portion_of(message(event()))
    before = copy.deepcopy(portion)

    with pytest.raises(UnknownVersionError, match=what):
        portion.add("bid.events.p01", data)

    assert portion == before


@pytest.mark.parametrize("version", [b'"2"', b"-1", b"null", b"9" * 5000])
def test_watermark_may_pass_a_message_whose_version_nobody_can_read(version: bytes) -> None:
    data = message(event()).replace(b'"v":1', b'"v":' + version)

    portion = portion_of(data)

    assert [(each.reason, each.payload) for each in portion.dead_letters] == [("undecodable", data)]
    assert portion.batches == [(Origin("p01", 0, 0), Stretch(PREV, LAST))]


def test_message_on_a_subject_without_a_partition_moves_no_watermark() -> None:
    portion = portion_of(message(event()), subject="bid.events.p\0")

    assert [each.reason for each in portion.dead_letters] == ["wrong_partition"]
    assert not portion.batches


def test_batch_of_another_partition_is_a_dead_letter_and_moves_no_watermark() -> None:
    portion = portion_of(message(event(), partition="p02"))

    assert [each.reason for each in portion.dead_letters] == ["wrong_partition"]
    assert not portion.events
    assert not portion.batches


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=200))
def test_random_bytes_are_always_kept_as_dead_letters(data: bytes) -> None:
    assert len(portion_of(data).dead_letters) == 1


A_YEAR_AHEAD_US = int(time.time() * 10**6) + MAX_EPOCH_AHEAD_US


@pytest.mark.parametrize(
    "epoch",
    [-1, A_YEAR_AHEAD_US + 10**9, 2**62, 2**63, 2**70],
    ids=["below 0", "over a year ahead", "2**62", "2**63", "2**70"],
)
@pytest.mark.parametrize(
    ("last", "events"), [("0-0", "[]"), ("9-0", "[1]"), ("9-0", "7")], ids=["opening", "bids", "-"]
)
def test_message_of_an_epoch_that_no_opening_took_begins_none_and_moves_no_watermark(
    epoch: int, last: str, events: str
) -> None:
    data = (
        f'{{"v":1,"partition":"p01","prev":"0-0","last":"{last}","events":{events},'
        f'"epoch":{epoch}}}'
    ).encode()

    portion = portion_of(data)

    assert [(each.reason, each.payload) for each in portion.dead_letters] == [("undecodable", data)]
    assert not portion.batches


def test_what_is_handed_over_for_no_partition_becomes_a_dead_letter_that_can_be_stored() -> None:
    data = message(b"1", event(), partition="\\u0000")

    portion = portion_of(data, events_subject(SUPERSEDED))

    assert [(each.reason, each.partition, each.payload) for each in portion.dead_letters] == [
        ("wrong_partition", SUPERSEDED, data)
    ]
    assert not portion.superseded


PUBLISHED_S = LAST.ms / 1000


@pytest.mark.parametrize("events", [b"[1]", b"7"])
@pytest.mark.parametrize(("early_s", "passes"), [(MAX_AHEAD_S - 1, 1), (MAX_AHEAD_S + 1, 0)])
def test_watermark_passes_no_unreadable_event_that_ends_long_after_its_publication(
    events: bytes, early_s: float, passes: int
) -> None:
    portion = Portion()

    portion.add(
        "bid.events.p01",
        message().replace(b"[]", events),
        published_s=PUBLISHED_S - early_s,
    )

    assert len(portion.batches) == passes
    [letter] = portion.dead_letters
    assert letter.error.count("the watermark does not pass it") == 1 - passes


def test_bids_of_a_redis_whose_clock_was_set_back_are_archived_and_move_the_watermark() -> None:
    """It goes on with ids that are ahead."""
    portion = Portion()

    portion.add("bid.events.p01", message(event()), published_s=PUBLISHED_S - 2 * MAX_AHEAD_S)

    assert portion.batches
    assert not portion.dead_letters


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(st.sampled_from(sorted(msgspec.json.decode(event()))), JSON_VALUES))
def test_event_with_any_values_becomes_an_event_or_a_dead_letter(values: dict[str, object]) -> None:
    fields = {**msgspec.json.decode(event()), **values}

    with suppress(UnknownVersionError):
        portion = portion_of(message(json.dumps(fields).encode()))

        assert len(portion.events) + len(portion.dead_letters) == 1


@settings(deadline=None)  # the machine may be busy
@given(
    st.dictionaries(
        st.sampled_from(["v", "partition", "prev", "last", "events", "epoch"]), JSON_VALUES
    )
)
def test_message_with_any_values_is_never_dropped(values: dict[str, object]) -> None:
    envelope = {"v": 1, "partition": "p01", "prev": "1-0", "last": "2-0", "events": [1]}

    with suppress(UnknownVersionError):
        portion = portion_of(json.dumps({**envelope, **values}).encode())

        assert portion.dead_letters or portion.batches


@pytest.mark.parametrize("amount", ["10.50", "10.5", "10", "1.05e1", "9999999999.99", "0.01"])
def test_amounts_are_judged_by_value(amount: str) -> None:
    archivable(msgspec.Raw(event(amount=amount)), Origin("p01", 0, 1))


def test_deeply_nested_unknown_field_is_refused() -> None:
    """It would exceed PostgreSQL's stack limit, an error that the worker retries forever."""
    nested = event()[:-1] + b',"note":' + b"[" * 50_000 + b"]" * 50_000 + b"}"

    with pytest.raises(UndecodableError):
        archivable(msgspec.Raw(nested), Origin("p01", 0, 1))
