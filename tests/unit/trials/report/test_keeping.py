"""Small copies of raw results give the same report, to three digits."""

import gzip
from pathlib import Path

import pytest

from pkg.devkit.errors import BadArgument
from pkg.trials.report import keeping
from pkg.trials.report.contention import measured as contention
from pkg.trials.report.fan_out import measured as fan_out
from pkg.trials.report.latencies import Latencies
from pkg.trials.report.resilience import measured as resilience
from pkg.trials.report.results import Results, opened
from tests.unit.trials.report import made_up


def test_copies_of_contention_have_the_same_counts_and_percentiles(tmp_path: Path) -> None:
    original = opened(made_up.contention(tmp_path / "results"))

    before, after = (contention.measured(each) for each in (original, _kept(original)))

    assert after.problems == before.problems
    for one, other in zip(before.cases, after.cases, strict=True):
        assert one.runs == other.runs
        for mine, theirs in zip((*one.bids, *one.reads), (*other.bids, *other.reads), strict=True):
            assert mine.count == theirs.count
            assert mine.count == 0 or _p99(mine) == pytest.approx(_p99(theirs), rel=0.005)


def test_copies_of_fan_out_have_the_same_counts_and_percentiles(tmp_path: Path) -> None:
    original = opened(made_up.fan_out(tmp_path / "results"))

    before, after = (fan_out.measured(each) for each in (original, _kept(original)))

    assert after.problems == before.problems
    for one, other in zip(before.cases, after.cases, strict=True):
        assert [each.count for each in one.last] == [each.count for each in other.last]
        for mine, theirs in zip(one.swift, other.swift, strict=True):
            assert _p99(mine) == pytest.approx(_p99(theirs), rel=0.005)


def test_copies_of_resilience_have_the_same_bids_in_every_second(tmp_path: Path) -> None:
    original = opened(made_up.resilience(tmp_path / "results"))

    before, after = (resilience.measured(each) for each in (original, _kept(original)))

    for one, other in zip(before.cases, after.cases, strict=True):
        assert [each.outcomes for each in one.seconds.values()] == [
            each.outcomes for each in other.seconds.values()
        ]


def test_a_copy_names_the_bytes_that_it_was_made_from(tmp_path: Path) -> None:
    original = opened(made_up.contention(tmp_path / "results"))
    (samples,) = [each for each in original.raw_files() if each.name == contention.SAMPLES]

    copy = _kept(original)

    assert opened(copy.folder).about.notes[-1].endswith(samples.sha256)
    assert copy.name == original.name


def test_copies_are_kept_once_and_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    original = opened(made_up.contention(tmp_path / "results"))

    first = _kept(original).raw_files()
    second = _kept(original)

    assert second.raw_files() == first
    assert keeping.kept(second, second.folder.parent) is second


def test_a_latency_has_three_digits_in_a_copy(tmp_path: Path) -> None:
    copy = _kept(opened(made_up.contention(tmp_path / "results")))

    with gzip.open(copy.folder / contention.SAMPLES, "rt") as lines:
        latencies = [line.strip().rpartition(",")[2] for line in list(lines)[1:]]

    assert max(len(each) for each in latencies) > 3
    assert all(len(each.rstrip("0")) <= 3 for each in latencies)


def test_incomplete_results_are_not_kept(tmp_path: Path) -> None:
    original = opened(made_up.contention(tmp_path / "results", complete=False))

    with pytest.raises(BadArgument, match="is incomplete"):
        _kept(original)


def _kept(results: Results) -> Results:
    return keeping.kept(results, results.folder.parent / "kept")


def _p99(latencies: Latencies) -> int | None:
    return latencies.highest_at(0.99)
