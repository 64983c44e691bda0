"""What fails a row that may lose bids, on made-up findings."""

from dataclasses import replace

import pytest

from pkg.trials.crowd.archive import SUPERSEDED, Comparison
from pkg.trials.crowd.ledger import AcceptedBid, Ledger
from pkg.trials.faults.row import Row
from pkg.trials.faults.trial import Trial
from pkg.trials.faults.verdict import allowed_apart, allowed_loss, costs
from pkg.trials.findings import DeadLetter, FailingItem, Findings, LostBid


async def _nothing(_trial: Trial) -> None: ...


ROW = Row(name="row", expects="", fault=_nothing, may_lose=True, forgets_s=2.0)
CLEAN = Findings([], [], [], 0, [])
LOST = LostBid(item_id="vase", event_id="e0", amount="1.00")
NAMES_LOST_BID = Findings([], [], [], 0, [LOST])
APART_ROW = Row(name="row", expects="", fault=_nothing, may_keep_apart=True)
NAMES_BID_KEPT_APART = Findings([], [], [DeadLetter("vase", "e0", SUPERSEDED, "")], 1, [], 1)


def _comparison(
    *,
    lost: list[str] | None = None,
    conflicts: list[str] | None = None,
    kept_apart: list[str] | None = None,
) -> Comparison:
    return Comparison(
        archived=0,
        lost=lost or [],
        conflicts=conflicts or [],
        reasons={"seq_conflict"},
        unknown_archived=0,
        problems=[],
        losses=[f"{len(lost)} accepted bids are lost"] if lost else [],
        kept_apart=kept_apart or [],
    )


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.accept("e0", AcceptedBid("vase", 1, 100), sent_at=0.0)
    return ledger


def test_lost_bid_that_the_audit_names_is_counted_and_allowed(ledger: Ledger) -> None:
    problems, notes = allowed_loss(
        ROW, ledger, 1, _comparison(lost=["e0"]), NAMES_LOST_BID, fault_at=0.0
    )

    assert problems == []
    assert notes[0].startswith("1 accepted bids were lost")


def test_audit_that_passes_despite_a_lost_bid_fails_the_row(ledger: Ledger) -> None:
    problems, _ = allowed_loss(
        ROW, ledger, 0, _comparison(lost=["e0"]), NAMES_LOST_BID, fault_at=0.0
    )

    assert problems == ["the audit passes although accepted bids are lost"]


def test_lost_bid_that_the_audit_does_not_name_fails_the_row(ledger: Ledger) -> None:
    problems, _ = allowed_loss(ROW, ledger, 1, _comparison(lost=["e0"]), CLEAN, fault_at=0.0)

    assert problems == ["the audit does not name 1 lost bids: e0"]


def test_archived_bid_that_the_audit_calls_lost_fails_the_row(ledger: Ledger) -> None:
    problems, _ = allowed_loss(ROW, ledger, 1, _comparison(), NAMES_LOST_BID, fault_at=0.0)

    assert problems == ["the audit names 1 bids that are not lost: e0"]


def test_audit_may_name_a_lost_bid_of_unknown_outcome() -> None:
    ledger = Ledger(unknown={("vase", 100)})

    assert allowed_loss(ROW, ledger, 1, _comparison(), NAMES_LOST_BID, fault_at=0.0)[0] == []


def test_row_that_must_lose_and_loses_nothing_fails(ledger: Ledger) -> None:
    row = replace(ROW, must_lose=True)

    problems, _ = allowed_loss(row, ledger, 0, _comparison(), CLEAN, fault_at=0.0)

    assert problems == ["nothing was lost, so the row proves nothing"]


def test_bid_accepted_long_before_the_fault_may_not_be_lost(ledger: Ledger) -> None:
    lost, accepted_at = _comparison(lost=["e0"]), ledger.accepted_at["e0"]

    within, _ = allowed_loss(ROW, ledger, 1, lost, NAMES_LOST_BID, fault_at=accepted_at + 1.9)
    too_old, _ = allowed_loss(ROW, ledger, 1, lost, NAMES_LOST_BID, fault_at=accepted_at + 2.1)

    assert within == []
    assert too_old == ["1 lost bids were accepted over 2 s before the fault"]


def test_fault_without_a_begin_fails_the_row(ledger: Ledger) -> None:
    problems, _ = allowed_loss(ROW, ledger, 1, _comparison(lost=["e0"]), NAMES_LOST_BID)

    assert problems == ["the fault does not mark its beginning"]


def test_row_that_loses_without_forgets_s_fails(ledger: Ledger) -> None:
    row = replace(ROW, forgets_s=None)

    problems, _ = allowed_loss(
        row, ledger, 1, _comparison(lost=["e0"]), NAMES_LOST_BID, fault_at=0.0
    )

    assert problems == ["the row does not say how far back it may lose"]


def test_audit_that_passes_despite_a_conflict_fails_the_row(ledger: Ledger) -> None:
    problems, _ = allowed_loss(ROW, ledger, 0, _comparison(conflicts=["e0"]), CLEAN, fault_at=0.0)

    assert problems == [
        "the audit passes although accepted bids conflict",
        "the audit does not name vase",
    ]


def test_a_conflict_on_an_item_that_the_audit_names_is_allowed(ledger: Ledger) -> None:
    findings = Findings([FailingItem("vase", ["…"])], [], [], 1, [])

    assert (
        allowed_loss(ROW, ledger, 1, _comparison(conflicts=["e0"]), findings, fault_at=0.0)[0] == []
    )


def test_bid_kept_apart_that_the_audit_names_is_counted_and_allowed() -> None:
    problems, notes = allowed_apart(
        APART_ROW, 1, _comparison(kept_apart=["e0"]), NAMES_BID_KEPT_APART
    )

    assert problems == []
    assert notes == ["1 accepted bids were kept apart. The audit ends with 1 and names 1."]


def test_bid_kept_apart_that_the_audit_does_not_name_fails_the_row() -> None:
    problems, _ = allowed_apart(APART_ROW, 0, _comparison(kept_apart=["e0"]), CLEAN)

    assert problems == ["the audit does not name 1 bids kept apart: e0"]


def test_audit_that_passes_despite_bids_kept_apart_fails_the_row() -> None:
    problems, _ = allowed_apart(APART_ROW, 0, _comparison(kept_apart=["e0"]), NAMES_BID_KEPT_APART)

    assert problems[0].startswith("the audit ends with 0")


def test_row_that_may_keep_bids_apart_may_lose_none() -> None:
    problems, _ = allowed_apart(APART_ROW, 0, _comparison(lost=["e1"]), CLEAN)

    assert problems == ["1 accepted bids are lost"]


def test_an_item_that_fails_the_audit_fails_a_row_that_may_keep_bids_apart() -> None:
    findings = Findings([FailingItem("vase", ["…"])], [], [], 0, [])

    problems, _ = allowed_apart(APART_ROW, 0, _comparison(), findings)

    assert problems[0].startswith("the audit finds more than bids kept apart: 1 items fail")


def test_row_that_must_keep_bids_apart_and_keeps_none_fails() -> None:
    problems, _ = allowed_apart(replace(APART_ROW, must_keep_apart=True), 0, _comparison(), CLEAN)

    assert problems == ["no bid was kept apart, so the row proves nothing"]


def test_failures_that_the_row_does_not_allow_fail_it() -> None:
    ledger = Ledger(unknown={("vase", 100)})
    ledger.failed["busy"] = 2
    row = replace(ROW, may_fail=frozenset({"busy"}))

    assert costs(row, ledger) == [
        "1 bids failed with outcome_unknown, which this fault must not cost"
    ]
