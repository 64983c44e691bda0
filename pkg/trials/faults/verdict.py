"""Whether a row holds: answers, viewers, audit and archive, each held against what was promised."""

from pkg.trials.faults.archive import Comparison, compare
from pkg.trials.faults.bidders import STRATEGIES
from pkg.trials.faults.findings import Findings
from pkg.trials.faults.ledger import Ledger
from pkg.trials.faults.row import UNKNOWN, Result, Row
from pkg.trials.faults.scene import Scene
from pkg.trials.faults.viewers import Seen

AUDIT_WAITS_S = 5.0
_SHOWN = 5


async def judge(row: Row, scene: Scene, result: Result) -> None:
    """To be asked when the load has ended and the outboxes had their time to drain."""
    seen = scene.viewers.seen()
    result.problems += [*_answers(scene.ledger), *costs(row, scene.ledger), *_viewers(seen)]
    result.problems += [
        f"{replica.name} logged a traceback: a failure that nobody foresaw"
        for replica in scene.services.all
        if replica.process.has_said("Traceback (most recent call last)")
    ]
    told = _older_states(seen)
    if row.may_lose:
        scene.notes += told
    else:
        result.problems += [f"{each} Nothing was forgotten." for each in told]
    result.audit, findings = await scene.services.audit(
        environment=scene.environment, wait_s=AUDIT_WAITS_S
    )
    comparison = await compare(scene.ledger, scene.stores, shown=scene.viewers.shown)
    result.archived = comparison.archived
    result.lost, result.conflicts = len(comparison.lost), len(comparison.conflicts)
    result.problems += comparison.problems
    if missing := set(STRATEGIES) - comparison.strategies:
        result.problems.append(f"no bid was archived that was placed by {' or '.join(missing)}")
    if comparison.came_true:
        scene.note(f"{comparison.came_true} bids of unknown outcome turned out accepted.")
    if row.may_lose and (row.must_lose or comparison.lost or comparison.conflicts):
        problems, notes = allowed_loss(
            row, scene.ledger, result.audit, comparison, findings, struck_at=scene.struck_at
        )
        result.problems += problems
        scene.notes += notes
    else:
        result.problems += comparison.losses
        if wrong := comparison.misshown + scene.viewers.contradictions:
            result.problems.append(
                f"{wrong} times viewers were shown another bid than the archived"
            )
        if findings.dead_letters_in_all:
            result.problems.append(findings.letters)
        if result.audit:
            result.problems.append(f"the audit ends with 1: {findings.summary}")


def _answers(ledger: Ledger) -> list[str]:
    defects = sorted(set(ledger.defects))
    return [f"an answer against the contract: {defect}" for defect in defects[:_SHOWN]]


def costs(row: Row, ledger: Ledger) -> list[str]:
    """What bidders paid beyond what the row allows."""
    charged = {**ledger.failed, **({UNKNOWN: len(ledger.unknown)} if ledger.unknown else {})}
    return [
        f"{count} bids failed with {code}, which this fault must not cost"
        for code, count in sorted(charged.items())
        if code not in row.may_fail
    ]


def _older_states(seen: Seen) -> list[str]:
    """What viewers are told, and may be told only when Redis forgot."""
    sentences = []
    if seen.resets:
        sentences.append(f"Viewers were shown {seen.resets} resets.")
    if seen.greeted_behind:
        sentences.append(f"{seen.greeted_behind} viewers came back to an older state.")
    return sentences


def _viewers(seen: Seen) -> list[str]:
    problems = []
    if seen.unrepaired:
        problems.append(f"{seen.unrepaired} times a viewer missed bids in silence")
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
    struck_at: float | None = None,
) -> tuple[list[str], list[str]]:
    """Problems and notes, of a row that may lose: what is lost is counted, and what any store or
    gateway could know of it, the audit has to name. `audit` is its exit code.
    """
    lost_problems, lost_notes = _loss(row, ledger, audit, comparison, findings)
    conflict_problems, conflict_notes = _conflicts(ledger, audit, comparison, findings)
    said = [f"The audit ends with 1: {findings.summary}."] if audit else []
    lost_problems += _too_old(row, ledger, comparison, struck_at)
    return lost_problems + conflict_problems, lost_notes + said + conflict_notes


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
            problems.append("the audit is content although accepted bids are lost")
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


def _too_old(
    row: Row, ledger: Ledger, comparison: Comparison, struck_at: float | None
) -> list[str]:
    if row.forgets_s is None:
        return ["the row does not say how far back it may lose"] if comparison.lost else []
    if struck_at is None:
        return ["the fault does not say when it struck"]
    limit = struck_at - row.forgets_s
    old = [event for event in comparison.lost if ledger.told_at[event] < limit]
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
        problems.append("the audit is content although accepted bids conflict")
    if unnamed := items - findings.items:
        problems.append(f"the audit does not name {', '.join(sorted(unnamed)[:_SHOWN])}")
    note = (
        f"{len(comparison.conflicts)} accepted bids on {len(items)} items are dead letters "
        f"({', '.join(sorted(comparison.reasons))})."
    )
    return problems, [note]
