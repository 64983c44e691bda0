from collections.abc import AsyncIterator

import pytest_asyncio

from pkg.devkit.faults.stores import Stores, stores


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bench_stores() -> AsyncIterator[Stores]:
    """Stores of the bench's own: its rows kill them and delete their data."""
    async with stores() as running:
        yield running
