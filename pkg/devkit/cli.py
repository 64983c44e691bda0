"""bidkit's verbs: their names, options and output. What they do is in the backends."""

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
from pkg.devkit.cloud_verbs import app as deployments
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
app.add_typer(deployments)


@app.command()
def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once everything is ready.")
    ] = False,
    on: Annotated[
        BackendName | None,
        typer.Option(
            envvar="BIDKIT_ON",
            help="The backend. Default: compose if an engine answers and has or gets the images, "
            "else process.",
        ),
    ] = None,
    api_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="8080 unless set before.")
    ] = None,
    broadcast_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="8081 unless set before.")
    ] = None,
    edge_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="8000 unless set before; compose only.")
    ] = None,
    bid_strategy: Annotated[Strategy | None, typer.Option(help="lua unless set before.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the services; repeatable."),
    ] = None,
) -> None:
    """Start everything and wait until it is ready.

    In the foreground, Ctrl-C stops it: services first, then the stores. Options given here or set
    by `scale` are kept until `down --volumes`; `--on` is not.
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
        # A foreground system runs for its reader: when the reader goes, it stops.
        watcher = views.Regardless(progress) if detach else progress
        backend.up(options, detach=detach, watcher=watcher)


@app.command()
def down(
    *,
    volumes: Annotated[bool, typer.Option("--volumes", help="Also delete all data.")] = False,
    on: OnOption = None,
) -> None:
    """Stop everything, services first; the data stays, except on cloud.

    Add --volumes to delete the data, too.
    """
    choice().of_verb(on).down(volumes=volumes, say=views.write_regardless)


@app.command()
def get(
    service: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="Only this one; default: all.")
    ] = None,
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what runs.

    Replicas, restarts, ports, processes, CPU, memory and age, of one service or of everything.
    """
    backend = chosen_backend()
    only = part(service, of=backend) if service else None
    status = backend.status()
    if output is Output.TABLE:
        views.console().print(views.overview(status, only=only))
    else:
        views.write(views.as_json(status.of(only) if only else status))


@app.command()
def describe(service: ServiceArgument) -> None:
    """Show everything known about one service or store."""
    from pkg.devkit.service_settings import read_by

    backend = chosen_backend()
    name = part(service, of=backend)
    status, given = backend.status().of(name), backend.settings().get(name, {})
    views.console().print(views.details(status, settings=read_by(name, given)))


@app.command()
def logs(
    service: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="Only this one; default: all.")
    ] = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep showing new lines until Ctrl-C.")
    ] = False,
    last: Annotated[int, typer.Option("-n", min=0, help="Lines per replica.")] = 50,
) -> None:
    """Show the logs of one service's replicas, or of all."""
    backend = chosen_backend()
    services = (part(service, of=backend),) if service else backend.parts
    for line in backend.logs(services, last=last, follow=follow):
        views.write(f"{line.replica}{' (ended)' if line.ended else ''} | {line.text}")


@app.command()
def scale(
    replicas: Annotated[list[str], typer.Argument(metavar="SERVICE=REPLICAS...")],
) -> None:
    """Set a service's number of replicas.

    For instance `scale api-gateway=2`. Waits until they are ready.
    """
    backend = chosen_backend()
    for text in replicas:
        part(text.partition("=")[0], of=backend)
    wanted = dict(scaling(text) for text in replicas)
    backend.scale(wanted, say=views.write_regardless)


@app.command()
def restart(service: ServiceArgument) -> None:
    """Replace a service's replicas one by one.

    Each stops only when its replacement is ready. A store stops and starts again.
    """
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
        bool, typer.Option("--all", help="Also slow tests and those that need Docker or Terraform.")
    ] = False,
) -> None:
    """Run the tests and sum them up; other arguments go to pytest."""
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
def doctor(
    *,
    on: Annotated[
        BackendName | None,
        typer.Option(help="cloud, aws: what is deployed there, by the guide's troubleshooting."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check this machine for what bidkit needs, or what is deployed for what goes wrong there."""
    from pkg.devkit.cloud.system_verbs import SystemVerbs
    from pkg.devkit.doctor import examine, examine_deployment

    backend = choice().of_verb(on)
    findings = (
        examine_deployment(backend)
        if on is not None and isinstance(backend, SystemVerbs)
        else examine(backend)
    )
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
    """Every expected failure is one sentence on standard error and an exit code."""
    interrupt_on_termination()
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # The terminal or the reader is gone. Otherwise Python would fail to write what is still
            # buffered when it exits, complain, and exit with 120.
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
            views.complain(f"bidkit: no space is left for {where}; free some and try again.")
            return BidkitError.exit_code
        if not isinstance(error, views.ReaderGone) and error.errno != errno.EIO:
            raise
        # The reader, such as `head`, or the terminal is gone.
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _setting(text: str) -> tuple[str, str]:
    from pkg.devkit.service_settings import check

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier() or not name.isupper():
        raise BadArgument(f"{text!r} is not a setting; write it as in CONFLATE_MS=50.")
    check(name, value)
    return name, value
