"""archive: a connection to the test's database, with the schema in it.
workers: runs archival workers inside the test's process.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

from pkg.archival.app import run_worker
from pkg.archival.intake import Reader
from pkg.archival.schema import migrate
from pkg.archival.settings import ArchivalSettings
from pkg.archival.store import Connection
from pkg.devkit.names import ARCHIVAL
from tests.integration.providers import Stores


@pytest.fixture
async def archive(stores: Stores) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(stores.postgres_url)
    await migrate(connection)
    yield connection
    await connection.close()


@dataclass
class Workers:
    stores: Stores
    _running: list[tuple[asyncio.Event, "asyncio.Task[int]"]] = field(default_factory=list)

    def start(
        self,
        *,
        reader: Reader | None = None,
        **settings: Any,  # noqa: ANN401 - fields of the settings class
    ) -> int:
        """Returns the worker's number."""
        addresses = {**self.stores.nats_of(ARCHIVAL), "postgres_url": self.stores.postgres_url}
        stop = asyncio.Event()
        loaded = ArchivalSettings(**{**addresses, "admin_addr": None, **settings})
        self._running.append((stop, asyncio.create_task(run_worker(loaded, stop, reader=reader))))
        return len(self._running) - 1

    async def stop(self, number: int = 0) -> int:
        """Stops a worker as SIGTERM does; returns its exit code."""
        stop, task = self._running[number]
        stop.set()
        return await asyncio.wait_for(task, timeout=20)

    async def stop_all(self) -> None:
        for number in range(len(self._running)):
            await self.stop(number)


@pytest.fixture
async def workers(stores: Stores) -> AsyncIterator[Workers]:
    running = Workers(stores)
    yield running
    await running.stop_all()
