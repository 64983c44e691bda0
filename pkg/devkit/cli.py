"""bidkit's verbs. What they do is elsewhere; here is what they are called and what they print."""

import errno
import os
import sys
from typing import Annotated, NoReturn

import typer
from rich.table import Table
from rich.text import Text

from pkg.devkit import views
from pkg.devkit.arguments import (
    OnOption,
    Output,
    OutputOption,
    ServiceArgument,
    Strategy,
    choice,
    chosen_backend,
    part,
)
from pkg.devkit.backend import BackendName, Options
from pkg.devkit.bid_verbs import app as bids
from pkg.devkit.errors import BadArgument, BidkitError
from pkg.devkit.names import NO_EDGE, scaling
from pkg.devkit.progress import Progress
from pkg.devkit.settings import PROJECT, DevkitSettings
from pkg.devkit.signals import interrupt_on_termination

INTERRUPTED = 130

app = typer.Typer(
    name="bidkit",
    help="Run, watch, break and measure the bidding system on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.add_typer(bids)


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Leave it running.")] = False,
    on: Annotated[
        BackendName | None,
        typer.Option(
            envvar="BIDKIT_ON", help="Containers where a Docker engine answers, else processes."
        ),
    ] = None,
    api_port: Annotated[int | None, typer.Option(min=1, max=65535, help="8080 at first.")] = None,
    broadcast_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="8081 at first.")
    ] = None,
    edge_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="8000 at first; compose only.")
    ] = None,
    bid_strategy: Annotated[Strategy | None, typer.Option(help="lua at first.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A services' setting; repeatable."),
    ] = None,
) -> None:
    """Start everything and wait until it is ready; Ctrl-C stops it, in order.

    What is given here, and what `scale` does, is remembered until `down --volumes`; --on is not.
    """
    options = Options(
        api_port=api_port,
        broadcast_port=broadcast_port,
        edge_port=edge_port,
        bid_strategy=bid_strategy.value if bid_strategy else None,
        settings=dict(_setting(text) for text in settings or ()),
    )
    backend, why = choice().for_up(on)
    if edge_port and backend.name is BackendName.PROCESS:
        raise BadArgument(f"{NO_EDGE} Leave --edge-port out.")
    if why:
        (views.write_regardless if detach else views.write)(why)
    farewell = "`bidkit down` stops it." if detach else "Ctrl-C stops it."
    with Progress(views.console(), farewell=farewell) as progress:
        # In the foreground it is for the reader that the system runs; without one it stops.
        watcher = views.Regardless(progress) if detach else progress
        backend.up(options, detach=detach, watcher=watcher)


@app.command()
def down(
    *,
    volumes: Annotated[bool, typer.Option("--volumes", help="Delete all data too.")] = False,
    on: OnOption = None,
) -> None:
    """Stop everything, in order; the data stays unless told otherwise."""
    choice().of_verb(on).down(volumes=volumes, say=views.write_regardless)


@app.command()
def get(
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]")] = None,
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """What runs: replicas, restarts, ports, processes, CPU, memory, age."""
    backend = chosen_backend()
    only = part(service, of=backend) if service else None
    status = backend.status()
    if output is Output.TABLE:
        views.console().print(views.overview(status, only=only))
    else:
        views.write(views.as_json(status.of(only) if only else status))


@app.command()
def describe(service: ServiceArgument) -> None:
    """Everything known about one service or store."""
    from pkg.devkit.service_settings import read_by

    backend = chosen_backend()
    name = part(service, of=backend)
    status, given = backend.status().of(name), backend.settings().get(name, {})
    views.console().print(views.details(status, settings=read_by(name, given)))


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]")] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option("-n", min=0, help="Lines of each replica.")] = 50,
) -> None:
    """What the replicas of a service, or all of them, have said."""
    backend = chosen_backend()
    services = (part(service, of=backend),) if service else backend.parts
    for line in backend.logs(services, last=last, follow=follow):
        views.write(f"{line.replica} | {line.text}")


@app.command()
def scale(
    replicas: Annotated[list[str], typer.Argument(metavar="SERVICE=REPLICAS...")],
) -> None:
    """Set the number of replicas, such as `scale api-gateway=2`; waits until it is so."""
    backend = chosen_backend()
    for text in replicas:
        part(text.partition("=")[0], of=backend)
    wanted = dict(scaling(text) for text in replicas)
    backend.scale(wanted, say=views.write_regardless)


@app.command()
def restart(service: ServiceArgument) -> None:
    """One replica after the other, each replaced by a ready one before it goes."""
    backend = chosen_backend()
    backend.restart(part(service, of=backend), say=views.write_regardless)


@app.command(
    "test",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def run_tests(
    context: typer.Context,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what takes long or needs Docker or Terraform.")
    ] = False,
) -> None:
    """Run the test environments and sum them up; other arguments go to pytest."""
    from pkg.devkit.testing import run

    code = run(
        views.console(),
        results=PROJECT / "results",
        required=DevkitSettings.read().ci_require,
        everything=everything,
        arguments=[text for text in context.args if text != "--"],
    )
    raise typer.Exit(code)


@app.command()
def doctor(*, output: OutputOption = Output.TABLE) -> None:
    """What this machine has of what bidkit needs, and what runs."""
    from pkg.devkit.doctor import examine

    findings = examine(chosen_backend())
    if output is Output.JSON:
        views.write(views.as_json(findings))
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for finding in findings:
            mark = Text("✓", style="green") if finding.well else Text("✗", style="red")
            if not finding.well and not finding.needed:
                mark = Text("-", style="yellow")
            table.add_row(mark, finding.subject, Text(finding.says, overflow="fold"))
        views.console().print(table)
    if not all(finding.well for finding in findings if finding.needed):
        raise typer.Exit(1)


def main() -> NoReturn:
    """Every failure that was foreseen is one sentence on standard error and its exit code."""
    interrupt_on_termination()
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # The terminal was closed, or the reader has seen enough. What is still buffered goes
            # nowhere; Python would complain of it at its end, and exit with 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def _run() -> int:
    try:
        app(prog_name="bidkit")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BidkitError as error:
        views.complain(f"bidkit: {error}")
        return error.exit_code
    except PermissionError as error:
        views.complain(f"bidkit: {error}. Was the system last run by another user?")
        return BidkitError.exit_code
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            where = error.filename or "what was to be written"
            views.complain(f"bidkit: there is no space left for {where}; make some, and try again.")
            return BidkitError.exit_code
        if not isinstance(error, views.ReaderGone) and error.errno != errno.EIO:
            raise
        # The reader, such as `head`, has seen enough, or the terminal was closed.
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _setting(text: str) -> tuple[str, str]:
    from pkg.devkit.service_settings import check

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier() or not name.isupper():
        raise BadArgument(f"{text!r} is no setting; write one such as CONFLATE_MS=50.")
    check(name, value)
    return name, value
