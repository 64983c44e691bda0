"""Decides whether a row passes, from answers, viewers, audit and archive."""

from pkg.trials.crowd.archive import SUPERSEDED, Comparison, compare
from pkg.trials.crowd.bidders import STRATEGIES
from pkg.trials.crowd.ledger import Ledger
from pkg.trials.crowd.viewers import Seen
from pkg.trials.faults.lateness import lateness, whole_s
from pkg.trials.faults.row import UNKNOWN, Result, Row
from pkg.trials.faults.trial import Trial
from pkg.trials.findings import Findings

AUDIT_WAITS_S = 5.0
_SHOWN = 5


async def judge(row: Row, trial: Trial, result: Result) -> None:
    """Call after the load has ended and the outboxes had time to drain."""
    seen = trial.viewers.seen()
    result.problems += [*_answers(trial.ledger), *costs(row, trial.ledger), *_viewers(seen)]
    result.problems += [
        f"{replica.name} logged a traceback"
        for replica in trial.services.all
        if replica.process.log_contains("Traceback (most recent call last)")
    ]
    older_states = _older_states(seen)
    if row.may_lose or row.must_keep_apart:
        trial.notes += older_states
    else:
        result.problems += [f"{each} Redis had lost nothing." for each in older_states]
    result.audit, findings = await trial.services.audit(
        environment=trial.environment, wait_s=AUDIT_WAITS_S
    )
    async with trial.stores.postgres_connection() as postgres:
        comparison = await compare(trial.ledger, postgres, shown=trial.viewers.shown)
    result.archived = comparison.archived
    result.lost, result.conflicts = len(comparison.lost), len(comparison.conflicts)
    result.kept_apart = len(comparison.kept_apart)
    if trial.whole_from is not None:
        result.whole_s = whole_s(trial.ledger, comparison.kept_at, ended_at=trial.whole_from)
        result.problems += lateness(row, result.whole_s)
    result.problems += comparison.problems
    if missing := set(STRATEGIES) - comparison.strategies:
        result.problems.append(f"no archived bid was placed by {' or '.join(missing)}")
    if comparison.unknown_archived:
        trial.note(f"{comparison.unknown_archived} bids of unknown outcome turned out accepted.")
    if row.may_keep_apart:
        problems, notes = allowed_apart(row, result.audit, comparison, findings)
    elif row.may_lose and (row.must_lose or comparison.lost or comparison.conflicts):
        problems, notes = allowed_loss(
            row, trial.ledger, result.audit, comparison, findings, fault_at=trial.fault_at
        )
    else:
        problems, notes = _nothing_allowed(result.audit, comparison, findings), []
    result.problems += problems
    trial.notes += notes
    wrong = comparison.shown_otherwise + trial.viewers.contradictions
    if wrong and not (row.must_keep_apart or comparison.lost or comparison.conflicts):
        result.problems.append(f"{wrong} times viewers were shown another bid than the archived")


def _nothing_allowed(audit: int, comparison: Comparison, findings: Findings) -> list[str]:
    problems = list(comparison.losses)
    if findings.dead_letters_in_all:
        problems.append(findings.letters)
    if audit:
        problems.append(f"the audit ends with 1: {findings.summary}")
    return problems


def _answers(ledger: Ledger) -> list[str]:
    defects = sorted(set(ledger.defects))
    return [f"an answer outside the contract: {defect}" for defect in defects[:_SHOWN]]


def costs(row: Row, ledger: Ledger) -> list[str]:
    """Failures of bids that the row does not allow."""
    charged = {**ledger.failed, **({UNKNOWN: len(ledger.unknown)} if ledger.unknown else {})}
    return [
        f"{count} bids failed with {code}, which this fault must not cost"
        for code, count in sorted(charged.items())
        if code not in row.may_fail
    ]


def _older_states(seen: Seen) -> list[str]:
    """Older states that viewers were shown: allowed only if Redis lost bids."""
    sentences = []
    if seen.resets:
        sentences.append(f"Viewers were shown {seen.resets} resets.")
    if seen.greeted_behind:
        sentences.append(f"{seen.greeted_behind} viewers came back to an older state.")
    return sentences


def _viewers(seen: Seen) -> list[str]:
    problems = []
    if seen.unrepaired:
        problems.append(f"{seen.unrepaired} times a viewer missed bids without a snapshot")
    if seen.falls:
        problems.append(f"{seen.falls} times a seq or price fell for a viewer without a reset")
    if seen.duplicates:
        problems.append(f"{seen.duplicates} times a viewer was shown a bid twice")
    return problems


def allowed_loss(
    row: Row,
    ledger: Ledger,
    audit: int,
    comparison: Comparison,
    findings: Findings,
    *,
    fault_at: float | None = None,
) -> tuple[list[str], list[str]]:
    """Problems and notes of a row that may lose bids: the audit must name every loss.

    `audit` is its exit code.
    """
    lost_problems, lost_notes = _loss(row, ledger, audit, comparison, findings)
    conflict_problems, conflict_notes = _conflicts(ledger, audit, comparison, findings)
    audited = [f"The audit ends with 1: {findings.summary}."] if audit else []
    lost_problems += _too_old(row, ledger, comparison, fault_at)
    return lost_problems + conflict_problems, lost_notes + audited + conflict_notes


def allowed_apart(
    row: Row, audit: int, comparison: Comparison, findings: Findings
) -> tuple[list[str], list[str]]:
    """Problems and notes of a row with two histories: nothing is lost, and the audit names each
    bid that is kept apart and nothing else.
    """
    problems = list(comparison.losses)
    letters = [each for each in findings.dead_letters if each.reason == SUPERSEDED]
    if unnamed := set(comparison.kept_apart) - {each.event_id for each in letters}:
        shown = ", ".join(sorted(unnamed)[:_SHOWN])
        problems.append(f"the audit does not name {len(unnamed)} bids kept apart: {shown}")
    if row.must_keep_apart and not comparison.kept_apart:
        problems.append("no bid was kept apart, so the row proves nothing")
    if findings.dead_letters_in_all > len(letters):
        problems.append(findings.letters)
    if findings.failing or findings.only_in_postgres or findings.lost:
        problems.append(f"the audit finds more than bids kept apart: {findings.summary}")
    if audit != bool(findings.superseded):
        problems.append(f"the audit ends with {audit}: {findings.summary}")
    if not letters:
        return problems, []
    apart, named = len(comparison.kept_apart), len(letters)
    return problems, [
        f"{apart} accepted bids were kept apart. The audit ends with {audit} and names {named}."
    ]


def _loss(
    row: Row, ledger: Ledger, audit: int, comparison: Comparison, findings: Findings
) -> tuple[list[str], list[str]]:
    problems, notes = [], []
    if comparison.lost:
        notes.append(
            f"{len(comparison.lost)} accepted bids were lost: no store held them any more. "
            f"The audit named {len(findings.lost)}."
        )
        if not audit:
            problems.append("the audit passes although accepted bids are lost")
    elif row.must_lose:
        problems.append("nothing was lost, so the row proves nothing")
    named, lost = {each.event_id for each in findings.lost}, set(comparison.lost)
    if unnamed := lost - named:
        shown = ", ".join(sorted(unnamed)[:_SHOWN])
        problems.append(f"the audit does not name {len(unnamed)} lost bids: {shown}")
    # A gateway may have sent a 201 that never reached its bidder.
    unheard = {
        each.event_id for each in findings.lost if (each.item_id, each.cents) in ledger.unknown
    }
    if kept := named - lost - unheard:
        shown = ", ".join(sorted(kept)[:_SHOWN])
        problems.append(f"the audit names {len(kept)} bids that are not lost: {shown}")
    return problems, notes


def _too_old(row: Row, ledger: Ledger, comparison: Comparison, fault_at: float | None) -> list[str]:
    if row.forgets_s is None:
        return ["the row does not say how far back it may lose"] if comparison.lost else []
    if fault_at is None:
        return ["the fault does not mark its beginning"]
    limit = fault_at - row.forgets_s
    old = [event for event in comparison.lost if ledger.accepted_at[event] < limit]
    if not old:
        return []
    return [f"{len(old)} lost bids were accepted over {row.forgets_s:g} s before the fault"]


def _conflicts(
    ledger: Ledger, audit: int, comparison: Comparison, findings: Findings
) -> tuple[list[str], list[str]]:
    if not comparison.conflicts:
        return [], []
    problems = []
    items = {ledger.accepted[event].item for event in comparison.conflicts}
    if not audit:
        problems.append("the audit passes although accepted bids conflict")
    if unnamed := items - findings.items:
        problems.append(f"the audit does not name {', '.join(sorted(unnamed)[:_SHOWN])}")
    note = (
        f"{len(comparison.conflicts)} accepted bids on {len(items)} items are dead letters "
        f"({', '.join(sorted(comparison.reasons))})."
    )
    return problems, [note]
