"""`bidkit fault`: list the rows, run some or all, write the report."""

import asyncio
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pkg.devkit import views
from pkg.devkit.errors import BadArgument

if TYPE_CHECKING:  # what is imported here every verb of bidkit would wait for
    from pkg.devkit.faults.row import Result, Row

app = typer.Typer(
    help="Break a system of its own in every known way, and count what that costs.",
    no_args_is_help=True,
)


@app.command("list")
def list_rows() -> None:
    """The rows, and what each expects."""
    from pkg.devkit.faults.rows import CONTROLS, ROWS

    table = Table(box=None, pad_edge=False, show_header=False)
    for row in (*ROWS, *CONTROLS):
        table.add_row(row.name, row.expects)
    views.console().print(table)


@app.command()
def run(
    rows: Annotated[list[str] | None, typer.Argument(metavar="[ROW...]")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every row of the list.")] = False,
    short: Annotated[bool, typer.Option("--short", help="Shortened outages, as in CI.")] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Rows at a time; each takes half a core.")
    ] = 1,
    output: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the document there.")
    ] = None,
    logs: Annotated[
        Path | None, typer.Option("--logs", metavar="FOLDER", help="Keep the services' logs there.")
    ] = None,
) -> None:
    """Run rows on real stores in a temporary directory; exit code 1 when one of them fails."""
    from pkg.devkit.faults import report

    chosen = _chosen(rows or (), everything=everything)
    try:
        results = asyncio.run(_run(chosen, short=short, logs=logs, jobs=jobs))
    except asyncio.CancelledError:  # by SIGTERM; everything is ended
        raise typer.Exit(128 + signal.SIGTERM) from None
    views.console().print(report.table(results))
    if output is not None:
        # Without --logs: it names a place on this machine and changes nothing of the run.
        what = ["--all"] if everything else [row.name for row in chosen]
        how = [*(["--short"] if short else []), *(["-j", str(jobs)] if jobs > 1 else [])]
        command = shlex.join(["fault", "run", *what, *how, "--report", str(output)])
        text = report.document(
            list(zip(chosen, results, strict=True)),
            setting=report.Setting.now(f"./bidkit {command}"),
            short=short,
        )
        output.write_text(text, encoding="utf-8")
        views.write(f"Written to {output}.")
    if not all(result.passed for result in results):
        raise typer.Exit(1)


def _chosen(names: Sequence[str], *, everything: bool) -> "list[Row]":
    from pkg.devkit.faults.rows import CONTROLS, ROWS

    if everything:
        return list(ROWS)
    known = {row.name: row for row in (*ROWS, *CONTROLS)}
    if unknown := [name for name in names if name not in known]:
        raise BadArgument(f"there is no row {unknown[0]!r}; `bidkit fault list` names them.")
    if not names:
        raise BadArgument("name some rows, or say --all.")
    return [known[name] for name in dict.fromkeys(names)]


async def _run(
    rows: "Sequence[Row]", *, short: bool, logs: Path | None, jobs: int
) -> "list[Result]":
    """Each job takes the next row, on stores of its own; the results come in the rows' order."""
    from pkg.devkit.faults import bench, report
    from pkg.devkit.faults.stores import stores

    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine always runs in one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    results: dict[str, Result] = {}
    left = list(enumerate(rows, 1))[::-1]

    async def work() -> None:
        async with stores() as running:
            while left:
                number, row = left.pop()
                views.complain(f"{number}/{len(rows)} {row.name} ...")
                results[row.name] = await bench.run(row, running, short=short, logs=logs)
                views.complain(f"{number}/{len(rows)} {report.line(results[row.name])}")

    async with asyncio.TaskGroup() as group:
        for _ in range(min(jobs, len(rows))):
            group.create_task(work())
    return [results[row.name] for row in rows]
