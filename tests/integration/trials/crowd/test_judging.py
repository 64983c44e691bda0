"""What counts as a loss, a gap and a fall, on made-up ledgers and frames."""

import time
from decimal import Decimal

from pkg.trials.crowd.archive import SUPERSEDED, judge
from pkg.trials.crowd.ledger import AcceptedBid, Ledger
from pkg.trials.crowd.viewers import Frame, FrameChecker


def _ledger(*kept: AcceptedBid) -> Ledger:
    ledger = Ledger()
    for number, each in enumerate(kept):
        ledger.accept(f"e{number}", each, sent_at=0.0)
    return ledger


def _greeting(seq: int, price: int) -> Frame:
    return Frame(type="connected", seq=seq, current_bid=Decimal(price))


def _bid(seq: int, price: int) -> Frame:
    return Frame(seq=seq, amount=Decimal(price))


def _snapshot(seq: int, price: int, *, reset: bool = False) -> Frame:
    return Frame(type="snapshot", seq=seq, current_bid=Decimal(price), reset=reset)


def _checked(*frames: Frame, latest: bool = False) -> FrameChecker:
    checker = FrameChecker(latest=latest)
    for frame in frames:
        checker.check(frame)
    return checker


def test_bid_archived_as_answered_is_no_problem() -> None:
    kept = AcceptedBid("a", 1, 100)

    comparison = judge(_ledger(kept), {"e0": kept}, {}, {})

    assert (comparison.lost, comparison.problems, comparison.losses) == ([], [], [])


def test_accepted_bid_in_no_table_is_lost() -> None:
    comparison = judge(
        _ledger(AcceptedBid("a", 1, 100), AcceptedBid("a", 2, 200)),
        {"e1": AcceptedBid("a", 2, 200)},
        {},
        {},
    )

    assert comparison.lost == ["e0"]
    assert "e0" in comparison.losses[0]


def test_accepted_bid_among_the_dead_letters_is_a_conflict() -> None:
    comparison = judge(_ledger(AcceptedBid("a", 1, 100)), {}, {"e0": "seq_conflict"}, {})

    assert (comparison.lost, comparison.conflicts) == ([], ["e0"])


def test_accepted_bid_of_a_superseded_redis_is_kept_apart_and_no_conflict() -> None:
    comparison = judge(_ledger(AcceptedBid("a", 1, 100)), {}, {"e0": SUPERSEDED}, {})

    assert (comparison.lost, comparison.conflicts, comparison.kept_apart) == ([], [], ["e0"])


def test_a_second_load_counts_but_for_its_failures() -> None:
    ledger, second = _ledger(AcceptedBid("a", 1, 100)), Ledger()
    second.accept("x0", AcceptedBid("b", 1, 100), sent_at=0.0)
    second.fail("redis_superseded", item="b", cents=200)
    second.fail("outcome_unknown", item="b", cents=300)
    second.requests = 3
    last = ledger.last_accepted_at

    ledger.absorb(second)

    assert set(ledger.accepted) == {"e0", "x0"}
    assert (ledger.requests, ledger.unknown, ledger.failed) == (1, set(), {})
    assert ledger.last_accepted_at == last


def test_archived_bid_of_a_second_load_with_unknown_outcome_was_sent() -> None:
    ledger, second = _ledger(), Ledger(unknown={("a", 100)})

    ledger.absorb(second)

    assert judge(ledger, {"x": AcceptedBid("a", 1, 100)}, {}, {}).problems == []


def test_a_bid_archived_with_another_seq_or_amount_is_a_problem() -> None:
    ledger = _ledger(AcceptedBid("a", 1, 100), AcceptedBid("a", 2, 200))

    comparison = judge(
        ledger, {"e0": AcceptedBid("a", 1, 101), "e1": AcceptedBid("a", 3, 200)}, {}, {}
    )

    assert comparison.problems[0].startswith("2 bids differ")


def test_archived_bid_that_no_client_sent_is_a_problem() -> None:
    ledger = _ledger()
    ledger.unknown.add(("a", 100))

    comparison = judge(
        ledger, {"x": AcceptedBid("a", 1, 100), "y": AcceptedBid("a", 2, 200)}, {}, {}
    )

    assert comparison.unknown_archived == 1
    assert comparison.problems[0].startswith("1 archived bids that no client sent")


def test_viewers_shown_another_bid_than_the_archived_are_counted() -> None:
    kept = AcceptedBid("a", 1, 100)

    shown_same = judge(_ledger(kept), {"e0": kept}, {}, {("a", 1): "e0"})
    shown_another = judge(_ledger(kept), {"e0": kept}, {}, {("a", 1): "e9"})

    assert (shown_same.shown_otherwise, shown_another.shown_otherwise) == (0, 1)


def test_an_undocumented_503_is_a_defect() -> None:
    ledger = Ledger()

    ledger.fail("redis_unavailable", item="a", cents=1)
    ledger.fail("surprise", item="a", cents=2)

    assert ledger.failed == {"redis_unavailable": 1}
    assert len(ledger.defects) == 1


def test_one_event_id_for_two_bids_is_a_defect() -> None:
    ledger = _ledger(AcceptedBid("a", 1, 100))

    ledger.accept("e0", AcceptedBid("a", 2, 200), sent_at=0.0)

    assert ledger.defects


def test_bid_sent_before_the_fault_ended_does_not_count_as_recovery() -> None:
    ledger = Ledger()
    ended_at = time.monotonic()

    ledger.accept("e0", AcceptedBid("a", 1, 100), sent_at=ended_at - 1)
    before = ledger.first_accepted_after(ended_at)
    ledger.accept("e1", AcceptedBid("a", 2, 200), sent_at=ended_at + 1)

    assert before is None
    assert ledger.first_accepted_after(ended_at)


def test_bids_in_order_are_no_defect() -> None:
    seen = _checked(_greeting(3, 30), _bid(4, 40), _bid(5, 50)).seen

    assert (seen.repaired, seen.unrepaired, seen.duplicates, seen.falls) == (0, 0, 0, 0)


def test_skipped_seq_is_an_unrepaired_gap() -> None:
    assert _checked(_greeting(3, 30), _bid(5, 50)).seen.unrepaired == 1


def test_snapshot_repairs_a_gap() -> None:
    seen = _checked(_greeting(3, 30), _snapshot(5, 50), _bid(6, 60)).seen

    assert (seen.repaired, seen.unrepaired) == (1, 0)


def test_the_same_bid_twice_is_a_duplicate() -> None:
    assert _checked(_greeting(3, 30), _bid(4, 40), _bid(4, 40)).seen.duplicates == 1


def test_a_lower_seq_or_price_without_a_reset_is_a_fall() -> None:
    assert _checked(_greeting(3, 30), _bid(2, 20)).seen.falls == 1
    assert _checked(_greeting(3, 30), _bid(4, 20)).seen.falls == 1
    assert _checked(_greeting(3, 30), _snapshot(2, 20), latest=True).seen.falls == 1


def test_greeting_with_an_older_state_is_counted() -> None:
    checker = _checked(
        _greeting(3, 30), _bid(4, 40), _greeting(4, 40), _greeting(3, 30), _greeting(5, 20)
    )

    assert checker.seen.greeted_behind == 2
    assert checker.seen.falls == 0


def test_reset_may_lower_seq_and_price() -> None:
    checker = _checked(_greeting(3, 30), _snapshot(2, 20, reset=True), _bid(3, 25))

    assert (checker.seen.falls, checker.seen.resets, checker.seen.unrepaired) == (0, 1, 0)


def test_viewer_in_mode_latest_has_no_gaps() -> None:
    seen = _checked(_greeting(3, 30), _snapshot(9, 90), latest=True).seen

    assert (seen.repaired, seen.unrepaired) == (0, 0)


def test_seqs_missed_before_a_reconnect_are_no_gap() -> None:
    seen = _checked(_greeting(3, 30), _greeting(9, 90), _bid(10, 100)).seen

    assert (seen.greetings, seen.unrepaired) == (2, 0)
