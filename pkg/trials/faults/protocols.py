"""What rows and the verdict use of a system. Implemented for processes and for containers."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import asyncpg
from nats.aio.client import Client as NatsClient
from redis.asyncio import Redis

from pkg.trials.findings import Findings


class Process(Protocol):
    """A process or a container that a fault can hit."""

    def log_contains(self, text: str) -> bool:
        """Whether its log since the row began contains the text."""

    async def kill(self) -> None:
        """Kills it, like a crash; returns when it has ended."""

    async def pause(self) -> None:
        """Freezes it: it keeps its connections and answers nothing, like a hung machine."""

    async def resume(self) -> None: ...


class Replica(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def process(self) -> Process: ...

    async def restart(self, *, after_s: float = 0.5) -> None:
        """Starts it again, as a supervisor would; returns when it is ready."""


class Store(Protocol):
    @property
    def name(self) -> str: ...

    async def start(self) -> None:
        """Returns when it answers. Same address, same data."""

    async def stop(self) -> None:
        """Stops it gracefully; returns when it has ended."""

    async def kill(self) -> None: ...

    async def discard(self) -> None:
        """Deletes its data. It must not run."""


class Stores(Protocol):
    @property
    def redis(self) -> Store: ...

    @property
    def nats(self) -> Store: ...

    @property
    def postgres(self) -> Store: ...

    def redis_client(self) -> AbstractAsyncContextManager[Redis]: ...

    def nats_client(self) -> AbstractAsyncContextManager[NatsClient]: ...

    def postgres_connection(
        self,
    ) -> AbstractAsyncContextManager["asyncpg.Connection[asyncpg.Record]"]: ...


class Services(Protocol):
    @property
    def api(self) -> Sequence[Replica]: ...

    @property
    def broadcast(self) -> Sequence[Replica]: ...

    @property
    def archival(self) -> Sequence[Replica]: ...

    @property
    def all(self) -> Sequence[Replica]: ...

    @property
    def dead(self) -> list[str]:
        """Replicas that ended by themselves: a row restarts what it kills."""

    @property
    def api_port(self) -> int:
        """The port for bidders."""

    @property
    def broadcast_port(self) -> int:
        """The port for viewers."""

    async def relaying_gateway(self) -> Replica:
        """The gateway that relays now.

        Raises:
            NotInTimeError: none relays for a while.
        """

    async def metric_total(self, name: str) -> float:
        """The sum of a metric over all replicas that answer."""

    async def command(
        self, *arguments: str, environment: Mapping[str, str], within_s: float
    ) -> tuple[int, str, str]:
        """Runs `python -m pkg.archival …`; returns exit code, standard output, standard error."""

    async def audit(self, *, environment: Mapping[str, str], wait_s: float) -> tuple[int, Findings]:
        """The audit's exit code and findings.

        Raises:
            AuditUnableError: it could not read the stores.
        """


def data_folder(store: Store) -> Path:
    """The folder of a store's files. Raises TypeError if they are in a container."""
    data = getattr(store, "data", None)
    if not isinstance(data, Path):
        raise TypeError(f"{store.name} has no files here; this row is for processes.")
    return data
