"""A small run of each experiment: its counts add up, and agree with the system's own."""

from collections import Counter
from pathlib import Path

import pytest

from pkg.devkit.backend import BackendName
from pkg.devkit.names import ARCHIVAL, REDIS
from pkg.trials.experiments import contention, fan_out, plan, resilience
from pkg.trials.experiments.plan import Plan
from pkg.trials.experiments.recording import Recording
from pkg.trials.experiments.strikes import Fault, OnProcesses
from tests.integration.trials.experiments.files import about, documented, rows

DOCUMENT = (Path(__file__).resolve().parents[4] / "docs/experiments.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.timeout(180)


async def _made(what: Plan, results: Path) -> Recording:
    made = await plan.run(what, BackendName.PROCESS, results, command="a test")
    assert about(made.folder)["complete"] is True
    for file in made.folder.iterdir():
        if file.name != "run.json":
            assert list(rows(made.folder, file.name)[0]) in documented(DOCUMENT, file.name)
    return made


async def test_contention_counts_what_the_gateway_counts(tmp_path: Path) -> None:
    settings = contention.Settings(
        users=(6,), strategies=("lua", "optimistic"), repetitions=1, seconds=1.0, clients=2
    )

    made = await _made(plan.for_contention(settings, quick=True), tmp_path)

    samples = rows(made.folder, "samples.csv.gz")
    runs = rows(made.folder, "runs.csv")
    assert {run["strategy"] for run in runs} == {"lua", "optimistic"}
    for run in runs:
        assert run["audit"] == "ok"
        mine = [one for one in samples if one["run"] == run["run"]]
        outcomes = Counter(one["outcome"] for one in mine if one["request"] == "bid")
        told = {name: int(run[name]) for name in ("accepted", "refused", "failed", "unknown")}
        assert told == {name: outcomes[name] for name in told}
        assert int(run["bids"]) == sum(told.values())
        assert int(run["requests"]) == len(mine) == int(run["reads"]) + int(run["bids"])
        assert int(run["server_requests"]) == int(run["requests"])
        assert told["accepted"] > 0
        assert float(run["api_cpu_s"]) > 0
        assert all(int(one["latency_us"]) > 0 for one in mine)
    by_strategy = {run["strategy"]: int(run["retries"]) for run in runs}
    assert by_strategy["lua"] == 0


async def test_fan_out_delivers_every_bid_to_every_viewer_that_reads(tmp_path: Path) -> None:
    settings = fan_out.Settings(
        viewers=(40,),
        slow_shares=(0.0, 0.05),
        broadcasters=(2,),
        repetitions=1,
        seconds=1.0,
        rate_per_s=10.0,
        deliveries_per_s=1000.0,
        least_bids=10,
        clients=2,
    )

    made = await _made(plan.for_fan_out(settings, quick=True), tmp_path)

    deliveries, events = (
        rows(made.folder, name) for name in ("deliveries.csv.gz", "events.csv.gz")
    )
    runs = rows(made.folder, "runs.csv")
    assert {float(run["slow_share"]) for run in runs} == {0.0, 0.05}
    for run in runs:
        slow = round(20 * float(run["slow_share"])) * 2
        assert (run["audit"], run["gaps"], run["connected"]) == ("ok", "0", "40")
        mine = [one for one in deliveries if (one["run"], one["slow"]) == (run["run"], "0")]
        assert int(run["bids"]) == 10
        assert int(run["expected"]) == int(run["bids"]) * (40 - slow)
        assert int(run["delivered"]) == int(run["expected"]) == len(mine)
        assert len({(one["viewer"], one["seq"]) for one in mine}) == len(mine)
        last = {
            one["seq"]: int(one["last_viewer_latency_us"])
            for one in events
            if one["run"] == run["run"]
        }
        assert len(last) == 10
        for seq, latency_us in last.items():
            assert latency_us == max(int(one["latency_us"]) for one in mine if one["seq"] == seq)
        assert int(run["memory_per_connection_bytes"]) > 0
        assert 0 < int(run["connect_p50_us"]) <= int(run["connect_p99_us"])


async def test_resilience_counts_every_bid_of_its_phases(tmp_path: Path) -> None:
    settings = resilience.Settings(
        targets=(ARCHIVAL, REDIS),
        faults=(Fault.KILL, Fault.PAUSE),
        baseline_s=1.0,
        fault_s=2.0,
        recovery_s=2.0,
        rate_per_s=100.0,
    )

    made = await _made(plan.for_resilience(settings, OnProcesses(), quick=True), tmp_path)

    runs = rows(made.folder, "runs.csv")
    bids, depths = (rows(made.folder, name) for name in ("bids.csv.gz", "depth.csv.gz"))
    assert [(run["fault"], run["target"]) for run in runs] == [
        ("kill", ARCHIVAL),
        ("kill", REDIS),
        ("pause", ARCHIVAL),
        ("pause", REDIS),
    ]
    for run in runs:
        mine = [one for one in bids if one["run"] == run["run"]]
        outcomes = Counter(one["outcome"] for one in mine)
        told = {name: int(run[name]) for name in ("accepted", "refused", "failed", "unknown")}
        assert told == {name: outcomes[name] for name in told}
        assert sum(told.values()) == len(mine)
        assert (run["audit"], run["lost"]) == ("ok", "0")
        began, fault_from, fault_to, recovery_to = (
            float(run[f"{name}_s"])
            for name in ("baseline_from", "fault_from", "fault_to", "recovery_to")
        )
        assert began == 0.0
        assert fault_from >= 1.0
        assert fault_to - fault_from >= 2.0
        assert recovery_to - fault_to >= 2.0
        during = [one for one in mine if fault_from + 0.5 < float(one["at_s"]) < fault_to - 0.1]
        assert during
        if run["target"] == REDIS:  # a paused one answers when it is resumed
            accepted = [one for one in during if one["outcome"] == "accepted"]
            assert all(_answered_at_s(one) >= fault_to - 0.1 for one in accepted)
        else:
            assert {one["outcome"] for one in during} <= {"accepted", "refused"}
    killed = [one for one in depths if one["run"] == "1"]
    assert max(int(one["unarchived"]) for one in killed) > 0
    assert int(runs[0]["archived_late"]) > 0


def _answered_at_s(bid: dict[str, str]) -> float:
    return float(bid["at_s"]) + int(bid["latency_us"]) / 1e6
