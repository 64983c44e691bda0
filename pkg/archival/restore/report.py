"""The plan and the outcome of a restore, as text or JSON."""

import json
from typing import Any

from pkg.archival.restore.plan import Plan
from pkg.auction.outbox import BEGINNING
from pkg.stores.putting_back import Tally

MOST_SHOWN = 20


def as_text(plan: Plan) -> str:
    redis = plan.redis
    opened = (
        "open"
        if redis.open
        else f"open in {', '.join(redis.open_on)} only"
        if redis.open_on
        else "closed"
    )
    archive = (
        f"From the archive: {plan.items_to_put_back} of {plan.items} items to put back, "
        f"covering {plan.bids_to_put_back} bids."
    )
    lines = [
        f"Redis is {opened} and {'empty' if redis.empty else 'not empty'}.",
        archive,
        f"From JetStream: {plan.from_stream} newer bids.",
    ]
    if plan.items_departed or plan.items_to_leave:
        lines.append(
            f"Staying in the archive, until their next read or bid: {plan.items_departed} items "
            f"that left Redis before, {plan.items_to_leave} without a bid for ITEM_IDLE_S."
        )
    if plan.refused:
        named = ", ".join(plan.refused_items[:MOST_SHOWN])
        more = plan.refused - min(MOST_SHOWN, len(plan.refused_items))
        lines.append(
            f"Refused: {plan.refused} items whose price in Redis is not lower: {named}"
            + (f" and {more} more." if more else ".")
        )
    heads = ("PARTITION", "ARCHIVED TO", "JETSTREAM AHEAD TO", "BIDS FROM JETSTREAM")
    rows = [
        (
            name,
            str(partition.end.watermark) if partition.end.watermark > BEGINNING else "-",
            str(partition.stream_end or "-"),
            str(partition.from_stream),
        )
        for name, partition in plan.partitions.items()
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines += [""] + [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]
    return "\n".join(lines)


def outcome_text(tally: Tally) -> str:
    refused = f", refused: {tally.refused}" if tally.refused else ""
    return (
        f"Redis is rebuilt and open for bids. Put back: {tally.put_back}{refused}. "
        "Run the audit to see whether any bid is missing."
    )


def as_json(plan: Plan, *, done: Tally | None, why_not: str | None) -> str:
    """``why_not`` says why nothing was written; None if something was."""
    body: dict[str, Any] = {
        "restored": done is not None,
        "why_not": why_not,
        "put_back": done.put_back if done else 0,
        "plan": {
            "open": plan.redis.open,
            "empty": plan.redis.empty,
            "items": plan.items,
            "items_departed": plan.items_departed,
            "items_to_leave": plan.items_to_leave,
            "items_to_put_back": plan.items_to_put_back,
            "bids_to_put_back": plan.bids_to_put_back,
            "from_stream": plan.from_stream,
            "refused": plan.refused,
            "refused_items": plan.refused_items,
            "partitions": {
                name: {
                    "archived_to": str(partition.end.watermark),
                    "stream_to": str(partition.stream_end) if partition.stream_end else None,
                    "from_stream": partition.from_stream,
                }
                for name, partition in plan.partitions.items()
            },
        },
    }
    return json.dumps(body, indent=2)
