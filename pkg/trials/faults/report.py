"""Results as a table for the terminal and as a section of docs/faults.md."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil
from rich.table import Table
from rich.text import Text

from pkg.devkit.settings import PROJECT
from pkg.trials.crowd.bidders import BIDDERS_PER_ITEM, ITEMS, RATE_PER_S
from pkg.trials.crowd.viewers import LATEST_OF, VIEWERS
from pkg.trials.faults.bench import LEAST_RATE_PER_S
from pkg.trials.faults.lateness import LATE_S
from pkg.trials.faults.row import WHOLE_WITHIN_S, Result, Row

HEADS = (
    *("row", "requests", "failed", "unknown", "accepted", "archived", "lost", "conflicts"),
    *("kept apart", "repaired", "unrepaired", "recover s", "whole s", "drain s", "audit"),
    "verdict",
)
_HEADS_NARROW = ("row", "unknown", "accepted", "lost", "unrepaired", "verdict")
_WIDE_COLUMNS = 174


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how a run was made."""

    command: str
    commit: str
    date: str
    machine: str
    images: str = ""
    """The containers' images with their ids; empty on processes."""

    @classmethod
    def now(cls, command: str, *, images: str = "") -> "Setting":
        gib = psutil.virtual_memory().total / 2**30
        system = f"{platform.system()} {platform.release()} {platform.machine()}"
        return cls(
            command=command,
            commit=_commit(),
            date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            machine=f"{os.cpu_count()} cores, {gib:.0f} GiB, {system}, "
            f"Python {platform.python_version()}",
            images=images,
        )


def table(results: Sequence[Result], *, width: int) -> Table:
    """A narrow terminal gets only the columns that show lost bids and gaps."""
    heads = HEADS if width >= _WIDE_COLUMNS else _HEADS_NARROW
    shown = Table(box=None, pad_edge=False)
    for head in heads:
        left = head in {"row", "verdict"}
        shown.add_column(head, justify="left" if left else "right", no_wrap=head == "row")
    for result in results:
        cells = dict(zip(HEADS, _cells(result), strict=True))
        shown.add_row(
            *(cells[head] for head in heads[:-1]),
            Text("ok", style="green") if result.passed else Text("FAILS", style="red"),
        )
    return shown


def line(result: Result) -> str:
    """One row's outcome, for the progress of a run."""
    if result.passed:
        return f"{result.row}: ok after {result.took_s:.0f} s"
    return f"{result.row}: FAILS after {result.took_s:.0f} s: {'; '.join(result.problems)}"


def section(rows: Sequence[tuple[Row, Result]], *, setting: Setting, short: bool) -> str:
    """A run's section of the document."""
    results = [result for _, result in rows]
    made = (
        f"Made by `{setting.command}` at commit {setting.commit}, {setting.date}, on one machine: "
        f"{setting.machine}."
    )
    total = (
        f"{sum(result.passed for result in results)} of {len(results)} rows hold, "
        f"{sum(result.accepted for result in results)} bids were accepted, "
        f"{sum(result.lost for result in results)} lost, in "
        f"{sum(result.took_s for result in results) / 60:.0f} minutes."
    )
    parts = [
        made,
        *([f"Images: {setting.images}."] if setting.images else []),
        _how(short=short, contained=bool(setting.images)),
        "### What each fault cost",
        _markdown(HEADS, [_cells(result) for result in results]),
        total,
        "### What was expected, and what else was seen",
        "\n".join(_details(row, result) for row, result in rows),
    ]
    return "\n\n".join(parts)


def _how(*, short: bool, contained: bool) -> str:
    outages = "Outages are shortened. " if short else ""
    system = (
        "Every row starts with empty stores and new services: two gateways and two broadcasters "
        "behind the load balancer, which all bids and viewers pass, and one archiver. A fault "
        "hits one of two replicas. A killed container is started again after a moment."
        if contained
        else "Every row has its own stores, two gateways, two broadcasters and one or two "
        "archivers."
    )
    end = " (killed containers are started then, but not yet healthy)" if contained else ""
    unknown = ", or the load balancer's 502 or 504" if contained else ""
    return (
        f"{outages}{system} {len(ITEMS) * BIDDERS_PER_ITEM} clients, half of them `lua` and half "
        f"`optimistic`, offer {RATE_PER_S} bids/s on {len(ITEMS)} items ({LEAST_RATE_PER_S} a "
        f"second must be accepted before the fault), and {VIEWERS} viewers watch, one in "
        f"{LATEST_OF} with `mode=latest`. After the fault the load continues; then the outboxes "
        "drain, the audit runs, and every bid answered with 201 is looked up in `bids`. Every "
        "other archived bid must be one whose outcome was unknown to its client.\n\n"
        "Failed: answered with a documented 503, or no connection; nothing was written. Unknown: "
        f"`outcome_unknown`, or the connection ended without an answer{unknown}. Repaired and "
        "unrepaired: gaps in viewers' events; a gap is repaired by a snapshot that replaces "
        f"the missing events. Recover: seconds from the end of the fault{end} to the first 201. "
        "Whole: seconds from the end of the fault until the archive held every bid accepted by "
        f"then, and any later one that was over {LATE_S:g} s late; a row fails past its bound, "
        f"{WHOLE_WITHIN_S:g} s unless it says otherwise. "
        "Drain: seconds from the end of the load to empty outboxes. Audit: its exit code. Lost: "
        "answered 201, but in no store. Conflicts: answered 201, but kept as a dead letter because "
        "another bid has its sequence number. Kept apart: answered 201 by a Redis after another "
        "one had been opened in its place, and kept as a dead letter that the audit names. "
        "Verdict: ok if the row's expectations hold, including what it may lose."
    )


def _details(row: Row, result: Result) -> str:
    lines = [f"- **{row.name}**: {row.expects}"]
    if result.codes:
        codes = ", ".join(f"{count} {code}" for code, count in sorted(result.codes.items()))
        lines.append(f"  - Failed: {codes}.")
    lines += [f"  - {note}" for note in result.notes]
    lines += [f"  - **Fails:** {problem}" for problem in result.problems]
    return "\n".join(lines)


def _cells(result: Result) -> tuple[str, ...]:
    numbers = (
        *(result.requests, result.failed, result.unknown, result.accepted, result.archived),
        *(result.lost, result.conflicts, result.kept_apart, result.repaired, result.unrepaired),
    )
    return (
        result.row,
        *map(str, numbers),
        _seconds(result.recover_s),
        _seconds(result.whole_s),
        _seconds(result.drain_s),
        "-" if result.audit is None else str(result.audit),
        "ok" if result.passed else "**fails**",
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _commit() -> str:
    """The commit, with `-dirty` if there are uncommitted changes."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude", "*"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"
