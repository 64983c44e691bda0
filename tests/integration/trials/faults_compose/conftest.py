from collections.abc import AsyncIterator

import pytest_asyncio

from pkg.trials.faults.containers.stage import ContainerStage, container_stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage() -> AsyncIterator[ContainerStage]:
    """A stack of the bench's own: its rows kill it part by part and delete its data."""
    async with container_stage(short=True) as running:
        yield running
