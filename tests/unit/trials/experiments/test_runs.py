"""In which order runs are made, and how their parts are added up."""

import itertools
import re
from collections import Counter
from dataclasses import replace

import pytest

from pkg.devkit.backend import BackendName
from pkg.devkit.errors import BadArgument
from pkg.devkit.names import POSTGRES, REDIS
from pkg.devkit.settings import PROJECT
from pkg.trials.experiments import contention, fan_out, machine, plan, resilience
from pkg.trials.experiments.clients.contending import Tally
from pkg.trials.experiments.clients.watching import Seen
from pkg.trials.experiments.machine import Needs
from pkg.trials.experiments.strikes import Fault, OnCloud, OnContainers, OnProcesses


def test_every_repetition_of_contention_has_each_pair_once_in_another_order() -> None:
    runs = list(contention.runs(replace(contention.FULL, repetitions=2)))

    half = len(runs) // 2
    first, second = (
        [(run.users, run.strategy) for run in part] for part in (runs[:half], runs[half:])
    )
    assert Counter(first) == Counter(second)
    assert set(Counter(first).values()) == {1}
    assert first != second
    assert [run.number for run in runs] == list(range(1, len(runs) + 1))
    assert len(runs) == replace(contention.FULL, repetitions=2).count


def test_fan_out_measures_slow_viewers_and_two_broadcasters_with_every_number_of_viewers() -> None:
    kinds = {(run.viewers, run.slow_share, run.broadcasters) for run in fan_out.runs(fan_out.QUICK)}

    assert kinds == {
        (viewers, share, broadcasters)
        for viewers in fan_out.QUICK.viewers
        for share in (0.0, 0.05)
        for broadcasters in (1, 2)
    }


def test_many_viewers_get_fewer_bids() -> None:
    assert fan_out.FULL.rate_for(100) == 20.0
    assert fan_out.FULL.rate_for(10_000) == 3.0


@pytest.mark.parametrize("settings", [fan_out.FULL, fan_out.QUICK])
@pytest.mark.parametrize("viewers", [100, 1000, 10_000])
def test_slow_viewers_miss_more_bids_than_buffers_hold(
    settings: fan_out.Settings, viewers: int
) -> None:
    assert settings.rate_for(viewers) * settings.seconds_for(viewers) >= 100


def test_processes_cannot_be_partitioned_and_containers_can() -> None:
    made = {
        kind: {run.fault for run in resilience.runs(resilience.FULL, how.can)}
        for kind, how in (("process", OnProcesses()), ("compose", OnContainers()))
    }

    assert made == {"process": set(Fault) - {Fault.PARTITION}, "compose": set(Fault)}


def test_in_the_cloud_tasks_end_and_stores_of_aws_only_hang() -> None:
    runs = resilience.runs(resilience.FULL, OnCloud().can)

    struck = {(run.target, run.fault) for run in runs}
    stores = {REDIS, POSTGRES}
    ends = {Fault.STOP, Fault.KILL}
    tasks = set(resilience.TARGETS) - stores
    assert struck == {
        *itertools.product(stores, {Fault.PAUSE}),
        *itertools.product(tasks, {*ends, Fault.PAUSE}),
    }


@pytest.mark.parametrize("name", ["contention", "fan-out", "resilience"])
def test_in_the_cloud_terraform_chooses_settings_and_sizes(name: str) -> None:
    """bidkit refuses settings there, and fewer tasks than a service scales itself to."""
    made = plan.of(name, on=BackendName.CLOUD, quick=True)
    sizes = (PROJECT / "terraform" / "dev.tfvars").read_text(encoding="utf-8")
    counts = dict(re.findall(r"^  ([\w-]+) += \{.* count = (\d+)", sizes, re.MULTILINE))

    assert made.settings == {}
    assert made.replicas == made.described["replicas"]
    assert {service: str(count) for service, count in made.replicas.items()} == counts
    assert any("load balancer" in note for note in made.notes)


def test_runs_of_one_part_do_not_follow_each_other() -> None:
    runs = list(resilience.runs(resilience.QUICK, OnContainers().can))

    assert all(one.target != other.target for one, other in itertools.pairwise(runs))


def test_clients_counts_are_added_and_the_last_answer_is_the_slowest_clients() -> None:
    both = contention.total(
        [
            Tally(requests=3, reads=2, accepted=1, ended_at_s=1.0),
            Tally(requests=4, reads=2, refused=1, unknown=1, ended_at_s=2.0, defects=["500"]),
        ]
    )

    assert (both.requests, both.reads, both.bids, both.accepted) == (7, 4, 3, 1)
    assert both.ended_at_s == 2.0
    assert both.defects == ["500"]


def test_the_last_viewer_is_the_last_of_all_processes() -> None:
    both = fan_out.total(
        [
            Seen(delivered=2, last_us={1: 10, 2: 30, 3: 9}),
            Seen(delivered=1, gaps=1, last_us={1: 20, 3: 8}),
        ]
    )

    assert (both.delivered, both.gaps) == (3, 1)
    assert both.last_us == {1: 20, 2: 30, 3: 9}


def test_percentiles_are_values_that_were_measured() -> None:
    assert fan_out.percentiles(range(1, 101)) == (51, 100)
    assert fan_out.percentiles([7]) == (7, 7)
    assert fan_out.percentiles([]) == (0, 0)


def test_more_connections_than_files_are_refused_before_anything_starts() -> None:
    with pytest.raises(BadArgument, match=r"need 10,000,300 open files, and the limit is"):
        machine.check(Needs(connections=10_000_000))


def test_few_connections_are_no_problem() -> None:
    assert isinstance(machine.check(Needs(connections=10)), list)
