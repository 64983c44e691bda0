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
from pkg.trials.faults.bench import LEAST_RATE_PER_S
from pkg.trials.faults.bidders import BIDDERS_PER_ITEM, ITEMS, RATE_PER_S
from pkg.trials.faults.row import Result, Row
from pkg.trials.faults.viewers import LATEST_OF, VIEWERS

_HEADS = (
    *("row", "requests", "failed", "unknown", "accepted", "archived", "lost", "conflicts"),
    *("repaired", "unrepaired", "recover s", "drain s", "audit", "verdict"),
)
_HEADS_NARROW = ("row", "unknown", "accepted", "lost", "unrepaired", "verdict")
_WIDE_COLUMNS = 150


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
    heads = _HEADS if width >= _WIDE_COLUMNS else _HEADS_NARROW
    shown = Table(box=None, pad_edge=False)
    for head in heads:
        left = head in {"row", "verdict"}
        shown.add_column(head, justify="left" if left else "right", no_wrap=head == "row")
    for result in results:
        cells = dict(zip(_HEADS, _cells(result), strict=True))
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
        _markdown(_HEADS, [_cells(result) for result in results]),
        total,
        "### What was expected, and what else was seen",
        "\n".join(_details(row, result) for row, result in rows),
    ]
    return "\n\n".join(parts)


def _how(*, short: bool, contained: bool) -> str:
    outages = "Outages are shortened. " if short else ""
    system = (
        "Every row starts with empty stores and restarted services: two gateways and two "
        "broadcasters behind the load balancer, and one archiver. All bids and viewers use the "
        "load balancer. Of two replicas one is hit. A killed container is started again after a "
        "moment."
        if contained
        else "Every row has empty stores, two gateways, two broadcasters and one or two archivers."
    )
    end = " (when a killed container is started, not when it is healthy)" if contained else ""
    unknown = ", or the load balancer's 502 or 504" if contained else ""
    return (
        f"{outages}{system} {len(ITEMS) * BIDDERS_PER_ITEM} clients, half of them `lua` and half "
        f"`optimistic`, send {RATE_PER_S} bids/s on {len(ITEMS)} items (at least "
        f"{LEAST_RATE_PER_S} per second must be accepted before the fault), and {VIEWERS} viewers "
        f"watch, one in {LATEST_OF} with `mode=latest`. After the fault the load goes on, then the "
        "outboxes drain, the audit runs, and every bid answered 201 is looked up in `bids`. An "
        "archived bid without a 201 must be one of unknown outcome.\n\n"
        "Failed: answered with a documented 503, or not connected; nothing was written. Unknown: "
        f"`outcome_unknown`, or the connection ended without an answer{unknown}. Repaired and "
        "unrepaired: viewers' gaps; a snapshot in place of the missed bids repairs one. "
        f"Recover: seconds from the end of the fault{end} to the first 201. Drain: seconds "
        "from the end of the load to empty outboxes. Audit: its exit code. Lost: answered 201, but "
        "in no table. Conflicts: answered 201, but set aside as a dead letter because another bid "
        "has its seq. Verdict: ok if the result is what the row expects, including allowed losses."
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
        *(result.lost, result.conflicts, result.repaired, result.unrepaired),
    )
    return (
        result.row,
        *map(str, numbers),
        _seconds(result.recover_s),
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
