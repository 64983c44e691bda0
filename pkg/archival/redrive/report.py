"""The plan and the outcome of a redrive, as text or JSON."""

import json
from typing import Any

from pkg.archival.redrive.letters import Tally

MOST_SHOWN = 20


def plan_text(plan: Tally) -> str:
    heads = ("REASON", "DEAD LETTERS", "TO ARCHIVE", "STAY")
    rows = [
        (reason, str(count), str(plan.removed[reason]), str(count - plan.removed[reason]))
        for reason, count in sorted(plan.letters.items())
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]
    if plan.stay:
        lines += ["", *_staying(plan)]
    return "\n".join(lines)


def outcome_text(done: Tally) -> str:
    became = f" Single events that became dead letters: {done.new_letters}."
    return (
        f"Dead letters archived and removed: {done.removed.total()}, "
        f"with {done.bids} new bids. Dead letters that stay: {done.stay}."
        f"{became if done.new_letters else ''} The audit lists all that are left."
    )


def as_json(plan: Tally, *, done: Tally | None, why_not: str | None) -> str:
    """``why_not`` says why nothing was written; None if something was."""
    body = {
        "redriven": done is not None,
        "why_not": why_not,
        "plan": _object(plan),
        "outcome": _object(done) if done is not None else None,
    }
    return json.dumps(body, indent=2)


def _staying(plan: Tally) -> list[str]:
    shown = plan.staying[:MOST_SHOWN]
    lines = [f"Letter {each.letter.id} stays: {' '.join(each.why.split())}" for each in shown]
    more = plan.stay - len(shown)
    return [*lines, f"… and {more} more stay."] if more else lines


def _object(tally: Tally) -> dict[str, Any]:
    return {
        "dead_letters": tally.letters.total(),
        "archived": tally.removed.total(),
        "stay": tally.stay,
        "bids": tally.bids,
        "new_dead_letters": tally.new_letters,
        "by_reason": {
            reason: {"dead_letters": count, "archived": tally.removed[reason]}
            for reason, count in sorted(tally.letters.items())
        },
        "staying": [
            {"id": each.letter.id, "reason": each.letter.reason, "why": each.why}
            for each in tally.staying
        ],
    }
