"""`bidkit fault`: list the rows, run some or all, write the report."""

import asyncio
import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pkg.devkit import views
from pkg.devkit.backend import BackendName
from pkg.devkit.errors import BadArgument, BidkitError

if TYPE_CHECKING:  # at run time, these imports would slow down every verb
    from contextlib import AbstractAsyncContextManager

    from pkg.trials.faults import bench
    from pkg.trials.faults.row import Result, Row

app = typer.Typer(
    help="Break a separate system on purpose and count what is lost.",
    no_args_is_help=True,
)


def _breakable(on: BackendName) -> BackendName:
    if on not in {BackendName.PROCESS, BackendName.COMPOSE}:
        raise BadArgument(f"faults are made on process and on compose, not on {on.value}.")
    return on


_On = Annotated[
    BackendName,
    typer.Option(
        "--on", help="Where the separate system runs: process or compose.", callback=_breakable
    ),
]


@app.command("list")
def list_rows(*, on: _On = BackendName.PROCESS) -> None:
    """List the rows and what each expects."""
    rows, controls = _rows(on)
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in (*rows, *controls):
        table.add_row(row.name, row.expects)
    views.console().print(table)


_COLUMNS = (
    "Columns: failed: answered with a documented 503, or no connection. unknown: the bidder was "
    "not told. lost: answered 201, but in no store. conflicts: answered 201, but another bid has "
    "the seq. kept apart: answered 201 by a Redis after another one was opened in its place. "
    "repaired, unrepaired: viewers' gaps, with and without a snapshot. recover: from the fault's "
    "end to the first 201; whole: until the archive had every bid. drain: from the load's end to "
    "empty outboxes. audit: its exit code."
)


@app.command(epilog=_COLUMNS)
def run(
    rows: Annotated[list[str] | None, typer.Argument(metavar="[ROW...]")] = None,
    *,
    on: _On = BackendName.PROCESS,
    everything: Annotated[bool, typer.Option("--all", help="Run every row of the list.")] = False,
    short: Annotated[bool, typer.Option("--short", help="Shorten outages, as in CI.")] = False,
    jobs: Annotated[
        int,
        typer.Option("--jobs", "-j", min=1, help="Rows to run at once; each takes half a core."),
    ] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write the results into their section of this document.",
        ),
    ] = None,
    logs: Annotated[
        Path | None,
        typer.Option("--logs", metavar="FOLDER", help="Keep the services' logs in this folder."),
    ] = None,
) -> None:
    """Run rows on a separate, real system; exit code 1 if one fails."""
    from pkg.trials.faults import report
    from pkg.trials.faults.containers import backend
    from pkg.trials.faults.document import with_section

    chosen = _chosen(rows or (), on=on, everything=everything)
    if on is BackendName.COMPOSE and jobs > 1:
        raise BadArgument("on compose rows run one at a time; leave out --jobs.")
    if output is not None and not os.access(output if output.exists() else output.parent, os.W_OK):
        raise BadArgument(f"{output} cannot be written to.")  # checked before the rows run
    try:
        results = asyncio.run(_run(chosen, on=on, short=short, logs=logs, jobs=jobs))
    except asyncio.CancelledError:  # by SIGTERM; everything has stopped
        raise typer.Exit(128 + signal.SIGTERM) from None
    console = views.console()
    console.print(report.table(results, width=console.width))
    views.complain("`bidkit fault run --help` explains the columns.")
    if output is not None:
        # Without --logs: it names a local path and does not affect the run.
        what = ["--all"] if everything else [row.name for row in chosen]
        where = ["--on", on.value] if on is not BackendName.PROCESS else []
        how = [*where, *(["--short"] if short else []), *(["-j", str(jobs)] if jobs > 1 else [])]
        command = shlex.join(["fault", "run", *what, *how, "--report", str(output)])
        images = backend.images() if on is BackendName.COMPOSE else ""
        text = report.section(
            list(zip(chosen, results, strict=True)),
            setting=report.Setting.now(f"./bidkit {command}", images=images),
            short=short,
        )
        before = output.read_text(encoding="utf-8") if output.exists() else ""
        output.write_text(with_section(before, on.value, text), encoding="utf-8")
        views.write(f"Written to {output}.")
    if not all(result.passed for result in results):
        raise typer.Exit(1)


def _rows(on: BackendName) -> "tuple[tuple[Row, ...], tuple[Row, ...]]":
    """A backend's rows and its controls."""
    from pkg.trials.faults import rows
    from pkg.trials.faults.containers import rows as containers

    if on is BackendName.COMPOSE:
        return containers.ROWS, containers.CONTROLS
    return rows.ROWS, rows.CONTROLS


def _chosen(names: Sequence[str], *, on: BackendName, everything: bool) -> "list[Row]":
    rows, controls = _rows(on)
    if everything:
        return list(rows)
    known = {row.name: row for row in (*rows, *controls)}
    if unknown := [name for name in names if name not in known]:
        raise BadArgument(
            f"there is no row {unknown[0]!r} on {on.value}; `bidkit fault list --on {on.value}` "
            "names them."
        )
    if not names:
        raise BadArgument("name some rows, or add --all.")
    return [known[name] for name in dict.fromkeys(names)]


async def _run(
    rows: "Sequence[Row]", *, on: BackendName, short: bool, logs: Path | None, jobs: int
) -> "list[Result]":
    """Each job runs the next row on its own backend. Results are in the order of `rows`."""
    from pkg.trials.faults import bench, report
    from pkg.trials.faults.containers.backend import container_backend
    from pkg.trials.faults.process_backend import process_backend

    def make_backend() -> "AbstractAsyncContextManager[bench.Backend]":
        return container_backend(short=short) if on is BackendName.COMPOSE else process_backend()

    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine always runs in one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    results: dict[str, Result] = {}
    left = list(enumerate(rows, 1))[::-1]

    async def work() -> None:
        async with make_backend() as running:
            while left:
                number, row = left.pop()
                views.complain(f"{number}/{len(rows)} {row.name} ...")
                results[row.name] = await bench.run(row, running, short=short, logs=logs)
                views.complain(f"{number}/{len(rows)} {report.line(results[row.name])}")

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(jobs, len(rows))):
                group.create_task(work())
    except ExceptionGroup as failed:
        if isinstance(error := failed.exceptions[0], BidkitError):
            raise error from None  # its message is meant for the user
        raise
    return [results[row.name] for row in rows]
