"""The fault matrix on containers with shortened outages. `bidkit fault` runs it in full."""

import pytest

from pkg.trials.faults import bench
from pkg.trials.faults.containers.backend import ContainerBackend
from pkg.trials.faults.containers.rows import CONTROLS, ROWS
from pkg.trials.faults.row import Row

# The first test builds the images and starts the stack.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row_passes(row: Row, backend: ContainerBackend) -> None:
    result = await bench.run(row, backend, short=True)

    assert result.problems == []
    assert result.accepted > 0


@pytest.mark.parametrize("row", CONTROLS, ids=lambda row: row.name)
async def test_broken_promise_is_found_by_ledger_and_audit(
    row: Row, backend: ContainerBackend
) -> None:
    result = await bench.run(row, backend, short=True)

    assert result.lost == 1
    assert result.audit == 1
