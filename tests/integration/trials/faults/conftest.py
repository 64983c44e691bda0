from collections.abc import AsyncIterator

import pytest_asyncio

from pkg.trials.faults.processes import ProcessStage, process_stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage() -> AsyncIterator[ProcessStage]:
    """Stores of the bench's own: its rows kill them and delete their data."""
    async with process_stage() as running:
        yield running
