from pathlib import Path

from pkg.trials.report import findings
from pkg.trials.report.contention.measured import Case, Measured, Run
from pkg.trials.report.document import Table
from pkg.trials.report.latencies import Latencies
from pkg.trials.report.results import opened
from tests.unit.trials.report import made_up


def case(users: int, *, bids: int, failed: int) -> Case:
    run = Run(
        run="1",
        repetition=1,
        strategy="optimistic",
        users=users,
        seconds=10.0,
        requests=2 * bids,
        reads=bids,
        bids=bids,
        accepted=100,
        refused=bids - failed - 100,
        failed=failed,
        unknown=0,
        retries=0,
        server_requests=2 * bids,
        api_cpu_s=1.0,
        redis_cpu_s=1.0,
        audit="ok",
    )
    return Case("optimistic", users, [run], bids=[Latencies({})], reads=[Latencies({})])


def test_answers_that_are_errors_are_no_throughput(tmp_path: Path) -> None:
    results = opened(made_up.contention(tmp_path / "a", samples=5))
    cases = [case(100, bids=20_000, failed=0), case(2000, bids=30_000, failed=25_000)]

    blocks = findings.section(Measured(results, cases, [], []), None, None)

    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert "with 100 users" in table.rows[0][2]
