from pathlib import Path

import pytest

from pkg.trials.report import comparison
from pkg.trials.report.comparison import Comparable
from pkg.trials.report.contention import measured as contention
from pkg.trials.report.document import Table, Warnings
from pkg.trials.report.results import opened
from tests.unit.trials.report import made_up

MACHINE = {**made_up.MACHINE, "cores": 4}


def comparable(folder: Path, **given: object) -> Comparable:
    results = opened(made_up.contention(folder, users=(100,), samples=2000, **given))  # type: ignore[arg-type]
    return Comparable(results, contention.measured(results).metrics())


def verdicts(runs: list[Comparable]) -> dict[tuple[str, str], str]:
    (table,) = [block for block in comparison.section(runs) if isinstance(block, Table)]
    return {(row[0], row[1]): row[-1] for row in table.rows}


def test_true_regression_is_marked_with_ratio_and_interval(tmp_path: Path) -> None:
    runs = [
        comparable(tmp_path / "before"),
        comparable(tmp_path / "after", slower=1.5, seed=2),
    ]

    assert verdicts(runs)["requests/s", "lua, 100 users"] == "▼ worse"
    assert verdicts(runs)["API CPU (µs/request)", "optimistic, 100 users"] == "▼ worse"
    told = comparison.regressions(runs)
    assert "requests/s: worse beyond noise than in `before` in 2 of 2 cases" in told[0]
    assert "ratio 0.6" in told[0]


def test_noise_is_not_marked(tmp_path: Path) -> None:
    runs = [comparable(tmp_path / "before"), comparable(tmp_path / "after", seed=2)]

    assert set(verdicts(runs).values()) == {"within noise"}
    assert comparison.regressions(runs) == []


def test_improvement_is_marked_and_is_no_regression(tmp_path: Path) -> None:
    runs = [
        comparable(tmp_path / "before", slower=1.5),
        comparable(tmp_path / "after", seed=2),
    ]

    assert verdicts(runs)["requests/s", "lua, 100 users"] == "▲ better"
    assert comparison.regressions(runs) == []


def test_latest_is_compared_with_each_earlier_run(tmp_path: Path) -> None:
    runs = [comparable(tmp_path / name, seed=seed) for seed, name in enumerate("abc")]

    assert sum(isinstance(block, Table) for block in comparison.section(runs)) == 2


@pytest.mark.parametrize("change", [{"machine": MACHINE}, {"backend": "compose"}, {"quick": True}])
def test_unlike_runs_are_not_judged(tmp_path: Path, change: dict[str, object]) -> None:
    runs = [
        comparable(tmp_path / "before"),
        comparable(tmp_path / "after", slower=1.5, **change),
    ]

    assert set(verdicts(runs).values()) == {"not comparable"}
    assert comparison.regressions(runs) == []


def test_settings_that_differ_are_told(tmp_path: Path) -> None:
    runs = [
        comparable(tmp_path / "before"),
        comparable(tmp_path / "after", settings={"seconds": 2}),
    ]

    (warning,) = [block for block in comparison.section(runs) if isinstance(block, Warnings)]

    assert "setting `seconds`: 8, then 2" in warning.items[0]


def test_one_run_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    assert comparison.section([comparable(tmp_path / "only")]) == []
