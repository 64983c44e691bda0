"""What the bench calls a loss, a gap, a fall: on made-up ledgers and frames."""

import time
from decimal import Decimal

from pkg.trials.faults.archive import judge
from pkg.trials.faults.ledger import Kept, Ledger
from pkg.trials.faults.viewers import Eye, Frame


def _ledger(*kept: Kept) -> Ledger:
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


def _eye(*frames: Frame, latest: bool = False) -> Eye:
    eye = Eye(latest=latest)
    for frame in frames:
        eye.look(frame)
    return eye


def test_a_bid_that_is_archived_as_it_was_told_is_no_problem() -> None:
    kept = Kept("a", 1, 100)

    comparison = judge(_ledger(kept), {"e0": kept}, {}, {})

    assert (comparison.lost, comparison.problems, comparison.losses) == ([], [], [])


def test_an_accepted_bid_that_no_table_has_is_lost() -> None:
    comparison = judge(
        _ledger(Kept("a", 1, 100), Kept("a", 2, 200)), {"e1": Kept("a", 2, 200)}, {}, {}
    )

    assert comparison.lost == ["e0"]
    assert "e0" in comparison.losses[0]


def test_an_accepted_bid_among_the_dead_letters_is_a_conflict() -> None:
    comparison = judge(_ledger(Kept("a", 1, 100)), {}, {"e0": "seq_conflict"}, {})

    assert (comparison.lost, comparison.conflicts) == ([], ["e0"])


def test_a_bid_archived_with_another_seq_or_amount_is_a_problem() -> None:
    ledger = _ledger(Kept("a", 1, 100), Kept("a", 2, 200))

    comparison = judge(ledger, {"e0": Kept("a", 1, 101), "e1": Kept("a", 3, 200)}, {}, {})

    assert comparison.problems[0].startswith("2 bids differ")


def test_an_archived_bid_has_to_be_one_that_a_client_sent() -> None:
    ledger = _ledger()
    ledger.unknown.add(("a", 100))

    comparison = judge(ledger, {"x": Kept("a", 1, 100), "y": Kept("a", 2, 200)}, {}, {})

    assert comparison.came_true == 1
    assert comparison.problems[0].startswith("1 archived bids that no client sent")


def test_a_viewer_has_to_be_shown_the_bid_that_is_archived() -> None:
    kept = Kept("a", 1, 100)

    shown_it = judge(_ledger(kept), {"e0": kept}, {}, {("a", 1): "e0"})
    shown_another = judge(_ledger(kept), {"e0": kept}, {}, {("a", 1): "e9"})

    assert (shown_it.misshown, shown_another.misshown) == (0, 1)


def test_an_undocumented_503_is_a_defect() -> None:
    ledger = Ledger()

    ledger.fail("redis_unavailable", item="a", cents=1)
    ledger.fail("surprise", item="a", cents=2)

    assert ledger.failed == {"redis_unavailable": 1}
    assert len(ledger.defects) == 1


def test_one_event_id_for_two_bids_is_a_defect() -> None:
    ledger = _ledger(Kept("a", 1, 100))

    ledger.accept("e0", Kept("a", 2, 200), sent_at=0.0)

    assert ledger.defects


def test_a_bid_that_was_sent_before_the_fault_ended_says_nothing_of_the_recovery() -> None:
    ledger = Ledger()
    ended_at = time.monotonic()

    ledger.accept("e0", Kept("a", 1, 100), sent_at=ended_at - 1)
    before = ledger.first_accepted_after(ended_at)
    ledger.accept("e1", Kept("a", 2, 200), sent_at=ended_at + 1)

    assert before is None
    assert ledger.first_accepted_after(ended_at)


def test_bids_in_order_are_as_they_should_be() -> None:
    seen = _eye(_greeting(3, 30), _bid(4, 40), _bid(5, 50)).seen

    assert (seen.repaired, seen.unrepaired, seen.duplicates, seen.falls) == (0, 0, 0, 0)


def test_a_jump_in_seq_is_a_gap_in_silence() -> None:
    assert _eye(_greeting(3, 30), _bid(5, 50)).seen.unrepaired == 1


def test_a_jump_by_a_snapshot_is_a_gap_repaired() -> None:
    seen = _eye(_greeting(3, 30), _snapshot(5, 50), _bid(6, 60)).seen

    assert (seen.repaired, seen.unrepaired) == (1, 0)


def test_the_same_bid_twice_is_a_duplicate() -> None:
    assert _eye(_greeting(3, 30), _bid(4, 40), _bid(4, 40)).seen.duplicates == 1


def test_a_lower_seq_or_price_without_a_reset_is_a_fall() -> None:
    assert _eye(_greeting(3, 30), _bid(2, 20)).seen.falls == 1
    assert _eye(_greeting(3, 30), _bid(4, 20)).seen.falls == 1
    assert _eye(_greeting(3, 30), _snapshot(2, 20), latest=True).seen.falls == 1


def test_a_greeting_behind_what_the_viewer_had_seen_is_counted() -> None:
    eye = _eye(_greeting(3, 30), _bid(4, 40), _greeting(4, 40), _greeting(3, 30), _greeting(5, 20))

    assert eye.seen.greeted_behind == 2
    assert eye.seen.falls == 0


def test_a_reset_may_lower_both() -> None:
    eye = _eye(_greeting(3, 30), _snapshot(2, 20, reset=True), _bid(3, 25))

    assert (eye.seen.falls, eye.seen.resets, eye.seen.unrepaired) == (0, 1, 0)


def test_a_viewer_of_the_latest_state_has_no_gaps() -> None:
    seen = _eye(_greeting(3, 30), _snapshot(9, 90), latest=True).seen

    assert (seen.repaired, seen.unrepaired) == (0, 0)


def test_who_reconnects_begins_with_the_greeting() -> None:
    seen = _eye(_greeting(3, 30), _greeting(9, 90), _bid(10, 100)).seen

    assert (seen.greetings, seen.unrepaired) == (2, 0)
