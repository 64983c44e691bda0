"""`bidkit experiment`: what the system does under contention, fan-out and failure."""

import asyncio
import shlex
import signal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pkg.devkit import views
from pkg.devkit.backend import BackendName
from pkg.devkit.settings import PROJECT

if TYPE_CHECKING:  # at run time, these imports would slow down every verb
    from pkg.trials.experiments.plan import Plan

app = typer.Typer(
    help="Measure a separate system under contention, fan-out and failure.",
    no_args_is_help=True,
)


class Where(StrEnum):
    PROCESS = "process"
    COMPOSE = "compose"
    CLOUD = "cloud"


_On = Annotated[Where, typer.Option("--on", help="Where the separate system runs.")]
_Quick = Annotated[
    bool, typer.Option("--quick", help="Fewer and shorter runs: for a first look, and for CI.")
]
_Results = Annotated[
    Path,
    typer.Option("--results", metavar="FOLDER", help="Folder for the raw files."),
]
RESULTS = PROJECT / "results"


@app.command()
def contention(
    *, on: _On = Where.PROCESS, quick: _Quick = False, results: _Results = RESULTS
) -> None:
    """Let many users bid on one item, under both strategies."""
    _run(["contention"], on=on, quick=quick, results=results)


@app.command("fan-out")
def fan_out(*, on: _On = Where.PROCESS, quick: _Quick = False, results: _Results = RESULTS) -> None:
    """Let many viewers watch one item, and measure when each sees a bid."""
    _run(["fan-out"], on=on, quick=quick, results=results)


@app.command()
def resilience(
    *, on: _On = Where.PROCESS, quick: _Quick = False, results: _Results = RESULTS
) -> None:
    """Stop, kill and pause each part under load, and count what it costs."""
    _run(["resilience"], on=on, quick=quick, results=results)


@app.command("all")
def every(*, on: _On = Where.PROCESS, quick: _Quick = False, results: _Results = RESULTS) -> None:
    """Run the three experiments, one after the other."""
    _run(["contention", "fan-out", "resilience"], on=on, quick=quick, results=results)


def _run(names: list[str], *, on: Where, quick: bool, results: Path) -> None:
    """Checks everything first. Ctrl-C and SIGTERM keep what was measured."""
    from pkg.trials.experiments import machine, plan

    backend = BackendName(on.value)
    plans = [plan.of(name, on=backend, quick=quick) for name in names]
    doubts: list[str] = []
    for one in plans:
        doubts = machine.check(one.needs)
    for doubt in doubts:
        views.complain(f"Mind: {doubt}.")
    left = views.duration(sum(one.expected_s for one in plans))
    views.complain(f"{', '.join(names)} on {backend}: about {left}. Ctrl-C keeps what is measured.")
    how = [
        *(["--on", on.value] if on is not Where.PROCESS else []),
        *(["--quick"] if quick else []),
    ]
    for one in plans:
        command = shlex.join(["./bidkit", "experiment", one.name, *how])
        asyncio.run(_interruptible(one, backend, results, command=command, doubts=doubts))


async def _interruptible(
    plan: "Plan", on: BackendName, results: Path, *, command: str, doubts: list[str]
) -> None:
    """Signals cancel it once; later ones do not disturb the clean-up."""
    from pkg.trials.experiments.plan import run

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine always runs in one
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        if len(received) == 1:
            views.complain("Stopping; what was measured is kept.")
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        await run(plan, on, results, command=command, doubts=doubts)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
