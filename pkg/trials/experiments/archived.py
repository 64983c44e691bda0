"""What the archive holds of a run's items."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from pkg.devkit import docker_cli
from pkg.devkit.backend import BackendName
from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.names import ARCHIVAL, POSTGRES
from pkg.trials.crowd.archive import BIDS, LETTERS
from pkg.trials.crowd.ledger import AcceptedBid
from pkg.trials.experiments import emulated
from pkg.trials.experiments.system import System

_USER = "bidding"
"""Role and database of PostgreSQL; inside its container no password is asked for."""


@dataclass
class Archived:
    """By event_id."""

    bids: dict[str, AcceptedBid] = field(default_factory=dict)
    letters: dict[str, str] = field(default_factory=dict)
    """Reasons."""
    at: dict[str, float] = field(default_factory=dict)
    """When it was written (time.time)."""


async def read(system: System, items: Sequence[str]) -> Archived:
    """Bids on these items, and all dead letters."""
    query = _query_processes if system.backend.name is BackendName.PROCESS else _query_containers
    names = ", ".join(f"'{item}'" for item in items)  # our own: letters, digits and dashes
    found = Archived()
    for event, item, seq, cents, at in await query(system, f"{BIDS} WHERE item_id IN ({names})"):
        found.bids[str(event)] = AcceptedBid(str(item), int(seq), int(cents))
        found.at[str(event)] = float(at)
    for event, reason, at in await query(system, LETTERS):
        found.letters[str(event)] = str(reason)
        found.at[str(event)] = float(at)
    return found


async def _query_processes(system: System, statement: str) -> Sequence[Sequence[Any]]:
    connection = await asyncpg.connect((await system.settings())[ARCHIVAL]["POSTGRES_URL"])
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close(timeout=5)


async def _query_containers(system: System, statement: str) -> Sequence[Sequence[Any]]:
    """In its container: on compose its port is not published, in the cloud AWS has its password."""
    if system.in_cloud:
        (postgres,) = await system.replicas_of(POSTGRES)
        container = await asyncio.to_thread(emulated.container_of, system.home, postgres)
    else:
        container = await asyncio.to_thread(_of_compose, system)
    psql = ("psql", "-U", _USER, "-d", _USER, "-At", "-F", "\t", "-c", statement)
    found = await asyncio.to_thread(docker_cli.ask, "exec", container, *psql)
    return [line.split("\t") for line in found.splitlines() if line]


def _of_compose(system: System) -> str:
    containers = Engine().containers(StateDir(system.home.folder).project)
    return next(one.id for one in containers if one.service == POSTGRES)
