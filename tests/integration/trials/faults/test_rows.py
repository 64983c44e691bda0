"""Every row of the bench with its outages shortened. In full, they run by `bidkit fault`."""

import pytest

from pkg.trials.faults import bench
from pkg.trials.faults.processes import ProcessStage
from pkg.trials.faults.row import Row
from pkg.trials.faults.rows import ROWS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_fault_costs_no_accepted_bid_and_no_viewer_a_gap(
    row: Row, stage: ProcessStage
) -> None:
    result = await bench.run(row, stage, short=True)

    assert result.problems == []
    assert result.accepted > 0
