"""Options and arguments that verbs share, and the backend they act on."""

from enum import StrEnum
from typing import Annotated

import typer

from pkg.devkit.backend import Backend, BackendName
from pkg.devkit.choice import Choice
from pkg.devkit.errors import BadArgument
from pkg.devkit.home import Home
from pkg.devkit.names import EDGE, NO_EDGE, SERVICES, STORES, named
from pkg.devkit.settings import DevkitSettings


class Strategy(StrEnum):
    LUA = "lua"
    OPTIMISTIC = "optimistic"


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


ServiceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE", help=f"{', '.join((*SERVICES, *STORES))}; on compose and cloud {EDGE}."
    ),
]
OnOption = Annotated[
    BackendName | None,
    typer.Option(help="The backend. Default: the one that is running, else the last one used."),
]
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="table for people, json for programs.")
]


def choice() -> Choice:
    return Choice(Home(DevkitSettings.read().home))


def chosen_backend() -> Backend:
    return choice().of_verb()


def part(text: str, *, of: Backend) -> str:
    """The part of the backend's system that `text` names. Raises BadArgument if there is none."""
    name = named(text)
    if name not in of.parts:
        raise BadArgument(NO_EDGE)
    return name
