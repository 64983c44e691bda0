from collections.abc import AsyncIterator

import pytest_asyncio

from pkg.trials.faults.process_backend import ProcessBackend, process_backend


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def backend() -> AsyncIterator[ProcessBackend]:
    """Has its own stores: rows kill them and delete their data."""
    async with process_backend() as running:
        yield running
