"""When the archive counts as whole, on made-up ledgers."""

import pytest

from pkg.trials.crowd.ledger import AcceptedBid, Ledger
from pkg.trials.faults.lateness import LATE_S, lateness, whole_s
from pkg.trials.faults.row import Row
from pkg.trials.faults.trial import Trial

ENDED_AT = 100.0


async def _nothing(_trial: Trial) -> None: ...


ROW = Row(name="row", expects="", fault=_nothing)


@pytest.fixture
def ledger() -> Ledger:
    """One bid accepted before the end of the fault, and one after it."""
    ledger = Ledger()
    for number, event in enumerate(("before", "after"), 1):
        ledger.accept(event, AcceptedBid("vase", number, 100 * number), sent_at=0.0)
    ledger.accepted_at = {"before": ENDED_AT - 1, "after": ENDED_AT + 3}
    return ledger


def test_bid_archived_during_the_fault_leaves_the_archive_whole(ledger: Ledger) -> None:
    assert whole_s(ledger, {"before": ENDED_AT - 0.5}, ended_at=ENDED_AT) == 0


def test_bid_from_before_the_end_counts_however_soon_it_is_archived(ledger: Ledger) -> None:
    assert whole_s(ledger, {"before": ENDED_AT + 0.5}, ended_at=ENDED_AT) == 0.5


def test_later_bid_counts_only_if_it_is_late(ledger: Ledger) -> None:
    soon, late = ENDED_AT + 3 + LATE_S / 2, ENDED_AT + 3 + LATE_S * 2

    assert whole_s(ledger, {"after": soon}, ended_at=ENDED_AT) == 0
    assert whole_s(ledger, {"after": late}, ended_at=ENDED_AT) == late - ENDED_AT


def test_bid_of_unknown_outcome_does_not_count(ledger: Ledger) -> None:
    assert whole_s(ledger, {"other": ENDED_AT + 50}, ended_at=ENDED_AT) == 0


def test_row_fails_past_its_bound() -> None:
    assert lateness(ROW, 10.0) == []
    assert lateness(ROW, 10.1) == [
        "the archive was whole 10.1 s after the fault had ended, over 10 s"
    ]
