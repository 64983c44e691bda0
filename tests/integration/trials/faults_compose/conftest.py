from collections.abc import AsyncIterator

import pytest_asyncio

from pkg.trials.faults.containers.backend import ContainerBackend, container_backend


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def backend() -> AsyncIterator[ContainerBackend]:
    """Has its own stack: rows kill its containers and delete their data."""
    async with container_backend(short=True) as running:
        yield running
