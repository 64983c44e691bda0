"""The fault matrix on containers, its outages shortened. In full, `bidkit fault` runs it."""

import pytest

from pkg.trials.faults import bench
from pkg.trials.faults.containers.rows import CONTROLS, ROWS
from pkg.trials.faults.containers.stage import ContainerStage
from pkg.trials.faults.row import Row

# The first one builds the images and brings the stack up.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_fault_costs_no_accepted_bid_and_no_viewer_a_gap(
    row: Row, stage: ContainerStage
) -> None:
    result = await bench.run(row, stage, short=True)

    assert result.problems == []
    assert result.accepted > 0


@pytest.mark.parametrize("row", CONTROLS, ids=lambda row: row.name)
async def test_a_promise_broken_by_hand_is_found_by_ledger_and_audit(
    row: Row, stage: ContainerStage
) -> None:
    result = await bench.run(row, stage, short=True)

    assert result.lost == 1
    assert result.audit == 1
