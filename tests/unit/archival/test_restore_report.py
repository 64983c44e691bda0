"""The texts of a restore's plan and outcome."""

import json
from dataclasses import replace

from pkg.archival.restore.archive_side import ArchiveEnd
from pkg.archival.restore.plan import MOST_NAMED, PartitionPlan, Plan
from pkg.archival.restore.redis_side import RedisState
from pkg.archival.restore.report import as_json, as_text, outcome_text
from pkg.auction.outbox import OutboxId
from pkg.stores.putting_back import Tally

CLOSED = RedisState(run_id="a", open_on=(), open=False, empty=True)


def plan(redis: RedisState = CLOSED) -> Plan:
    reached = PartitionPlan(ArchiveEnd(OutboxId(7, 1), OutboxId(9, 0)), OutboxId(8, 0), 3)
    return Plan(redis, {"p00": reached, "p01": PartitionPlan(ArchiveEnd())})


def test_text_shows_the_state_of_redis_and_what_each_store_contributes() -> None:
    shown = plan()
    shown.items, shown.items_to_put_back, shown.bids_to_put_back, shown.from_stream = 9, 5, 40, 3

    lines = as_text(shown).splitlines()

    assert lines == [
        "Redis is closed and empty.",
        "From the archive: 5 of 9 items to put back, covering 40 bids.",
        "From JetStream: 3 newer bids.",
        "",
        "PARTITION  ARCHIVED TO  JETSTREAM AHEAD TO  BIDS FROM JETSTREAM",
        "p00        7-1          8-0                 3",
        "p01        -            -                   0",
    ]


def test_refused_items_are_counted_once_and_some_are_named() -> None:
    shown = plan()
    for number in range(MOST_NAMED + 10):
        shown.refuse(f"item-{number}")
        shown.refuse(f"item-{number}")

    text = as_text(shown)

    assert f"Refused: {MOST_NAMED + 10} items" in text
    assert "item-0, item-1, " in text
    assert text.count("item-") == 20
    assert " and 90 more." in text
    assert len(shown.refused_items) == MOST_NAMED


def test_an_open_redis_that_lacks_items_is_refused_and_an_empty_one_without_any() -> None:
    found = {
        (bool(open_on), empty, lacking): _with(open_on, empty=empty, lacking=lacking).refusal
        for open_on in ((), ("p00",))
        for empty in (True, False)
        for lacking in (True, False)
    }

    assert [case for case, refusal in found.items() if refusal] == [
        (False, True, False),
        (True, True, False),
        (True, False, True),
    ]


def test_partly_open_redis_still_needs_opening() -> None:
    partly = _with(("p00",), empty=False, lacking=False)
    whole = _with(("p00", "p01"), empty=False, lacking=False)

    assert (partly.nothing_to_do, whole.nothing_to_do) == (False, True)
    assert "open in p00 only" in as_text(partly)


def test_json_says_whether_redis_was_restored_or_why_not() -> None:
    undone = json.loads(as_json(plan(), done=None, why_not="because"))
    done = json.loads(as_json(plan(), done=Tally(put_back=4), why_not=None))

    assert (undone["restored"], undone["why_not"], undone["put_back"]) == (False, "because", 0)
    assert (done["restored"], done["why_not"], done["put_back"]) == (True, None, 4)
    assert done["plan"]["partitions"]["p00"] == {
        "archived_to": "7-1",
        "stream_to": "8-0",
        "from_stream": 3,
    }


def test_outcome_mentions_refusals_only_if_there_are_any() -> None:
    assert "refused" not in outcome_text(Tally(put_back=4))
    assert "Put back: 4, refused: 2." in outcome_text(Tally(put_back=4, refused=2))


def _with(open_on: tuple[str, ...], *, empty: bool, lacking: bool) -> Plan:
    made = plan(replace(CLOSED, open_on=open_on, open=len(open_on) == 2, empty=empty))
    made.items = made.items_to_put_back = int(lacking)
    return made
