"""Every row of the bench with shortened outages. `bidkit fault` runs them in full."""

import pytest

from pkg.trials.faults import bench
from pkg.trials.faults.process_backend import ProcessBackend
from pkg.trials.faults.row import Row
from pkg.trials.faults.rows import ROWS
from pkg.trials.faults.trial import Trial
from pkg.trials.waiting import NotInTimeError

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row_passes(row: Row, backend: ProcessBackend) -> None:
    result = await bench.run(row, backend, short=True)

    assert result.problems == []
    assert result.accepted > 0


async def test_what_a_fault_found_is_told_even_if_the_row_fails_later(
    backend: ProcessBackend,
) -> None:
    async def fault(trial: Trial) -> None:
        trial.fault_begins()
        trial.require(False, "restore ended with 2")
        raise NotInTimeError("a bid is accepted after the fault: not within 30 s")

    row = Row(name="made-up", expects="", fault=fault)
    result = await bench.run(row, backend, short=True)

    assert result.problems == [
        "restore ended with 2",
        "a bid is accepted after the fault: not within 30 s",
    ]
