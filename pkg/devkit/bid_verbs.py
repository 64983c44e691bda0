"""The verbs about bids: bid, watch, audit, restore, redrive."""

import asyncio
import re
from enum import StrEnum
from typing import Annotated

import typer
from typer.core import TyperCommand

from pkg.devkit import bidding, views
from pkg.devkit.arguments import Output, OutputOption, Strategy, chosen_backend
from pkg.devkit.errors import BidkitError, BidRefused
from pkg.devkit.names import API, BROADCAST
from pkg.devkit.system import SystemStatus

app = typer.Typer()


class _WithAmount(TyperCommand):
    """Lets a negative amount through, so that the API refuses it, not the option parser."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        ctx.ignore_unknown_options = any(re.match(r"-[\d.]", text) for text in args)
        return super().parse_args(ctx, args)


@app.command(cls=_WithAmount)
def bid(
    item: str,
    amount: str,
    *,
    user: Annotated[str, typer.Option("--user", "-u", help="Who bids.")],
    strategy: Annotated[
        Strategy | None,
        typer.Option(help="How Redis decides this bid. Default: the gateway's BID_STRATEGY."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Place a bid.

    Exit codes: 0 accepted; 1 unavailable, or the outcome is unknown; 2 not a valid bid; 3 nothing
    runs; 4 refused by a rule of the auction.
    """
    outcome = bidding.place_bid(
        _serving(API).api_url,
        item,
        amount,
        user=user,
        strategy=strategy.value if strategy else None,
    )
    if output is Output.JSON:
        views.write(outcome.json)
    elif outcome.accepted:
        views.write(outcome.line)
    if not outcome.accepted:
        raise BidRefused(outcome.message)


class Mode(StrEnum):
    ALL = "all"
    LATEST = "latest"


@app.command()
def watch(
    item: str,
    *,
    mode: Annotated[Mode, typer.Option(help="Every bid, or only the newest state.")] = Mode.ALL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show an item's bids as they are accepted, until Ctrl-C."""
    status = _serving(BROADCAST)

    def show(text: str) -> None:
        views.write(text if output is Output.JSON else bidding.line_of(text))

    asyncio.run(
        bidding.watch(
            status.websocket_url,
            item,
            latest=mode is Mode.LATEST,
            show=show,
            notice=views.complain,
        )
    )


@app.command()
def audit(
    *,
    every_item: Annotated[
        bool, typer.Option("--all", help="Also list items without a finding.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    wait_s: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0,
            help="How long to wait for accepted bids to reach PostgreSQL.",
        ),
    ] = 30.0,
) -> None:
    """Compare Redis and PostgreSQL bid by bid.

    Exit code 1 if they differ.
    """
    chosen = (("--all", every_item), ("--json", as_json))
    flags = (flag for flag, given in chosen if given)
    raise typer.Exit(chosen_backend().audit((*flags, "--wait", f"{wait_s:g}")))


@app.command()
def restore(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    empty: Annotated[
        bool,
        typer.Option("--empty", help="Declare an empty Redis new: no other store holds a bid."),
    ] = False,
) -> None:
    """Rebuild a Redis that lost bids.

    Takes the bids from PostgreSQL and NATS. Shows the plan and asks before it changes anything.
    """
    chosen = (("--dry-run", dry_run), ("--yes", yes), ("--json", as_json), ("--empty", empty))
    raise typer.Exit(chosen_backend().restore(tuple(flag for flag, given in chosen if given)))


@app.command()
def redrive(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="REASON", help="Only dead letters of this reason.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Put dead letters through the archive again.

    Removes those that are archived now; the others stay. Shows the plan and asks first.
    """
    chosen = (("--dry-run", dry_run), ("--yes", yes), ("--json", as_json))
    flags = tuple(flag for flag, given in chosen if given)
    only = () if reason is None else (f"--reason={reason}",)
    raise typer.Exit(chosen_backend().redrive((*flags, *only)))


def _serving(service: str) -> SystemStatus:
    """Raises BidkitError if the service is scaled to 0."""
    status = chosen_backend().status()
    if not status.of(service).desired:
        raise BidkitError(f"{service} has 0 replicas; `bidkit scale {service}=1` starts one.")
    return status
