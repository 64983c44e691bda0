"""The audit's findings as text or JSON."""

import json
from collections.abc import Sequence
from typing import Any

from pkg.archival.audit.verdict import Verdict, counted
from pkg.archival.audit.walk import Findings
from pkg.auction.money import text_from_cents

MOST_ROWS = 200

_ITEM_HEADS = ("ITEM", "SEQ", "ARCHIVED", "DEAD", "PRICE", "PROBLEM")
_LOST_HEADS = ("LOST", "SEQ", "USER", "AMOUNT", "EVENT")
_LETTER_HEADS = ("LETTER", "REASON", "ITEM", "SEQ", "EVENT", "ERROR")


def as_table(findings: Findings, *, every_item: Sequence[Verdict] | None = None) -> str:
    """Failing items or, if given, every item; then dead letters, lost bids and totals."""
    parts: list[str] = []
    shown = list(every_item if every_item is not None else findings.failing.values())
    rows = [_item_row(verdict) for verdict in sorted(shown, key=lambda each: each.item_id)]
    if every_item is None:
        rows = _cut(rows)
    rows += [
        (item_id, "-", "-", "-", "-", "only in PostgreSQL, not in Redis")
        for item_id in findings.only_in_postgres[:MOST_ROWS]
    ]
    rows += [
        (item_id, "-", "-", "-", "-", "in the wrong partition of Redis")
        for item_id in findings.astray[:MOST_ROWS]
    ]
    if rows:
        parts.append(_aligned(_ITEM_HEADS, rows))
    letters = [
        (
            str(letter["id"]),
            letter["reason"],
            letter["item_id"] or "-",
            str(letter["seq"] or "-"),
            letter["event_id"] or "-",
            _one_line(letter["error"] + (" (archived since)" if letter["archived_since"] else "")),
        )
        for letter in findings.dead_letters
    ]
    if letters:
        parts.append(_aligned(_LETTER_HEADS, _cut(letters)))
    lost = [
        (each.item_id, str(each.seq), each.user_id, text_from_cents(each.cents), each.event_id)
        for each in findings.lost
    ]
    if lost:
        parts.append(_aligned(_LOST_HEADS, _cut(lost)))
    parts.append(_totals(findings))
    return "\n\n".join(parts)


def as_json(findings: Findings) -> str:
    body: dict[str, Any] = {
        "ok": findings.ok,
        "drained": findings.drained,
        "outbox_not_archived": findings.not_archived,
        "items": findings.items,
        "departed": findings.departed,
        "accepted": findings.accepted,
        "archived": findings.archived,
        "kinds": {"bid": findings.archived},
        "failing": [_item_object(findings.failing[each]) for each in sorted(findings.failing)],
        "only_in_redis": findings.only_in_redis,
        "only_in_postgres": findings.only_in_postgres,
        "astray": findings.astray,
        "superseded": findings.superseded,
        "dead_letters_in_all": findings.dead_letters_in_all,
        "dead_letters": [
            {**letter, "created_at": letter["created_at"].isoformat()}
            for letter in findings.dead_letters
        ],
        "lost": [
            {
                "item_id": each.item_id,
                "seq": each.seq,
                "user_id": each.user_id,
                "amount": text_from_cents(each.cents),
                "event_id": each.event_id,
            }
            for each in findings.lost
        ],
    }
    return json.dumps(body, indent=2)


def _item_row(verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.item_id,
        str(verdict.state.seq),
        str(verdict.record.archived),
        str(verdict.record.dead_lettered),
        text_from_cents(verdict.state.price_cents),
        "; ".join(verdict.problems) or "ok",
    )


def _item_object(verdict: Verdict) -> dict[str, Any]:
    return {
        "item_id": verdict.item_id,
        "seq": verdict.state.seq,
        "archived": verdict.record.archived,
        "dead_lettered": verdict.record.dead_lettered,
        "missing": verdict.missing,
        "late": verdict.late,
        "price": text_from_cents(verdict.state.price_cents),
        "problems": list(verdict.problems),
    }


def _totals(findings: Findings) -> str:
    lines = []
    if not findings.drained:
        lines.append(
            f"Late: {counted(findings.not_archived, 'event')} not archived after the wait. The "
            "outboxes hold them, so none is lost. Is the archival-worker running?"
        )
    lines.append(
        f"{counted(findings.items - findings.departed, 'item')} in Redis, "
        f"{findings.departed} in the archive only, {counted(findings.accepted, 'event')} "
        f"accepted, {counted(findings.archived, 'bid')} archived, "
        f"{counted(findings.dead_letters_in_all, 'dead letter')}."
    )
    if findings.lost:
        lines.append(
            f"Lost: {counted(len(findings.lost), 'accepted bid')}. Redis forgot them before they "
            "reached the stream; only gateways remembered them."
        )
    if findings.superseded:
        lines.append(
            f"Superseded: {counted(findings.superseded, 'accepted bid')}, listed as dead letters: "
            "accepted by a Redis after another one was opened in its place."
        )
    if findings.only_in_postgres:
        lines.append(
            f"Missing from Redis, not counted above: "
            f"{counted(len(findings.only_in_postgres), 'archived item')}. `restore` puts them back."
        )
    if findings.ok:
        lines.append("Every accepted bid is accounted for.")
        return "\n".join(lines)
    late = sum(verdict.only_late for verdict in findings.failing.values())
    wrong = len(findings.failing) - late + len(findings.only_in_postgres) + len(findings.astray)
    if late:
        lines.append(f"Late: {counted(late, 'item')}, and nothing is lost; run the audit again.")
    if wrong or not late:
        lines.append(f"Wrong: {counted(wrong, 'item')}.")
    return "\n".join(lines)


def _aligned(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    )


def _cut(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    if len(rows) <= MOST_ROWS:
        return list(rows)
    width = len(rows[0])
    more = f"… and {len(rows) - MOST_ROWS} more"
    return [*rows[:MOST_ROWS], (more, *[""] * (width - 1))]


def _one_line(text: str, *, most: int = 100) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
