"""Every row of the bench with shortened outages. `bidkit fault` runs them in full."""

import pytest

from pkg.trials.faults import bench
from pkg.trials.faults.process_backend import ProcessBackend
from pkg.trials.faults.row import Row
from pkg.trials.faults.rows import ROWS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row_passes(row: Row, backend: ProcessBackend) -> None:
    result = await bench.run(row, backend, short=True)

    assert result.problems == []
    assert result.accepted > 0
