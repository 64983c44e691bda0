import gzip
import json
from pathlib import Path

import pytest

from pkg.devkit.errors import BadArgument
from pkg.trials.report import overview
from pkg.trials.report.contention import measured as contention
from pkg.trials.report.fan_out import measured as fan_out
from pkg.trials.report.resilience import measured as resilience
from pkg.trials.report.results import named, newest, opened
from tests.unit.trials.report import made_up

NAME = "20261129T200000Z-contention"


def test_newest_complete_results_of_each_experiment_are_chosen(tmp_path: Path) -> None:
    made_up.contention(tmp_path / "20261128T200000Z-contention", samples=5)
    made_up.contention(tmp_path / "20261128T200000Z-contention-2", samples=5)
    made_up.contention(tmp_path / NAME, samples=5, complete=False, ended=None)
    made_up.resilience(tmp_path / "20261101T000000Z-resilience")
    (tmp_path / "report").mkdir()

    chosen, passed_over = newest(tmp_path)

    assert [each.name for each in chosen] == [
        "20261128T200000Z-contention-2",
        "20261101T000000Z-resilience",
    ]
    assert passed_over == [f"{NAME} was passed over, as it is incomplete; name it to include it."]


def test_no_complete_results_are_a_bad_argument(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="no complete results; run `bidkit experiment all`"):
        newest(tmp_path / "results")


def test_results_are_ordered_by_time_and_only_the_latest_keeps_plain_names(tmp_path: Path) -> None:
    late = made_up.contention(tmp_path / "a", samples=5, started="2026-11-29T21:00:00Z")
    early = made_up.contention(tmp_path / "b", samples=5)

    chosen = named([late, early, tmp_path / "." / "a"])

    assert [(each.name, each.suffix) for each in chosen] == [("b", "-1"), ("a", "")]


def test_full_run_leads_before_a_later_quick_one(tmp_path: Path) -> None:
    full = made_up.contention(tmp_path / "full", samples=5)
    quick = made_up.contention(
        tmp_path / "quick", samples=5, started="2026-11-29T21:00:00Z", quick=True
    )

    chosen = named([quick, full])

    assert [(each.name, each.suffix) for each in chosen] == [("full", ""), ("quick", "-1")]
    assert [each.suffix for each in named([quick])] == [""]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "has format 2; this report reads format 1"),
        ({"experiment": "baking"}, "Invalid enum value 'baking'"),
        ({"started": "yesterday"}, "Invalid RFC3339 encoded datetime"),
        ({"started": "2026-11-29T20:00:00"}, "a time without an offset from UTC"),
    ],
)
def test_run_json_that_is_wrong_is_a_bad_argument(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    folder = made_up.contention(tmp_path / NAME, samples=5)
    (folder / "run.json").write_text(json.dumps(made_up.about("contention") | change))

    with pytest.raises(BadArgument, match=says):
        opened(folder)


def test_folder_without_run_json_and_no_folder_are_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match=r"holds no results: it has no run\.json"):
        opened(tmp_path)
    with pytest.raises(BadArgument, match="is not a folder"):
        opened(tmp_path / "nosuch")


@pytest.mark.parametrize("name", ["runs.csv", "samples.csv.gz"])
def test_missing_file_is_a_bad_argument(tmp_path: Path, name: str) -> None:
    folder = made_up.contention(tmp_path / NAME, samples=5)
    (folder / name).unlink()

    with pytest.raises(BadArgument, match=f"{NAME} has no {name}"):
        contention.measured(opened(folder))


@pytest.mark.parametrize("column", ["accepted", "api_cpu_s", "audit"])
def test_missing_column_is_a_bad_argument(tmp_path: Path, column: str) -> None:
    folder = made_up.contention(tmp_path / NAME, samples=5)
    file = folder / "runs.csv"
    file.write_text(file.read_text().replace(column, f"{column}_then"))

    with pytest.raises(BadArgument, match=f"runs.csv has no column '{column}'"):
        contention.measured(opened(folder))


def test_cell_that_is_no_number_names_its_line(tmp_path: Path) -> None:
    folder = made_up.contention(tmp_path / NAME, samples=5)
    file = folder / "runs.csv"
    lines = file.read_text().splitlines()
    lines[2] = lines[2].replace("optimistic,100,", "optimistic,many,")
    file.write_text("\n".join(lines))

    with pytest.raises(BadArgument, match=r"runs.csv cannot be read at line 3: Expected `int`"):
        contention.measured(opened(folder))


def test_cut_off_samples_of_complete_results_are_a_bad_argument(tmp_path: Path) -> None:
    folder = made_up.contention(tmp_path / NAME)
    file = folder / "samples.csv.gz"
    file.write_bytes(file.read_bytes()[:-2000])

    with pytest.raises(BadArgument, match=r"samples\.csv\.gz cannot be read at line"):
        contention.measured(opened(folder))


def test_cut_off_samples_of_incomplete_results_are_used_as_far_as_they_go(tmp_path: Path) -> None:
    folder = made_up.contention(
        tmp_path / NAME, complete=False, ended=None, why_incomplete="interrupted in run 7"
    )
    file = folder / "samples.csv.gz"
    file.write_bytes(file.read_bytes()[:-2000])
    results = opened(folder)

    measured = contention.measured(results)

    assert "samples.csv.gz breaks off at line" in measured.notes[0]
    assert measured.cases[0].bids[0].count > 0
    assert overview.warnings(results) == [
        f"`{NAME}` is incomplete (interrupted in run 7): only runs that ended are in figures."
    ]


def test_samples_of_a_run_that_did_not_end_are_in_no_figure(tmp_path: Path) -> None:
    folder = made_up.contention(tmp_path / NAME, repetitions=1, users=(100,), samples=50)
    with gzip.open(folder / "samples.csv.gz", "at") as text:
        text.write("3,0.1,bid,accepted,0,99999999\n3,0.2,bid,accepted,0,99999999\n")

    measured = contention.measured(opened(folder))

    assert measured.notes == [
        "`samples.csv.gz`: 2 rows of 1 run that did not end (3) are in no figure."
    ]
    assert all((part.highest_at(1) or 0) < 99999999 for c in measured.cases for part in c.bids)
    assert measured.problems == []


def test_counts_that_do_not_add_up_are_told(tmp_path: Path) -> None:
    folder = made_up.contention(tmp_path / NAME, repetitions=1, users=(100,), samples=50)
    with gzip.open(folder / "samples.csv.gz", "at") as text:
        text.write("1,0.1,bid,accepted,0,500\n")

    problems = contention.measured(opened(folder)).problems

    assert len(problems) == 3  # requests, bids, accepted
    assert problems[0] == ("Run 1: `runs.csv` says 50 requests, but `samples.csv.gz` holds 51.")


def test_rates_and_costs_are_of_the_row(tmp_path: Path) -> None:
    folder = made_up.contention(tmp_path / NAME, repetitions=1, users=(100,), samples=50)

    run = contention.measured(opened(folder)).cases[0].runs[0]

    assert run.requests_per_s == run.requests / run.seconds
    assert run.api_us == pytest.approx((run.api_cpu_s or 0) / run.server_requests * 1e6)


def test_failed_and_unknown_bids_have_no_part_in_percentiles(tmp_path: Path) -> None:
    folder = made_up.contention(tmp_path / NAME, repetitions=1, users=(100,))

    case = contention.measured(opened(folder)).cases[0]

    assert case.bids[0].count == case.runs[0].accepted + case.runs[0].refused


def test_cpu_that_a_backend_cannot_measure_is_no_zero(tmp_path: Path) -> None:
    folder = made_up.contention(tmp_path / NAME, repetitions=1, users=(100,), samples=5)
    file = folder / "runs.csv"
    head, *lines = file.read_text().splitlines()
    cells = [line.split(",") for line in lines]
    place = head.split(",").index("api_cpu_s")
    for row in cells:
        row[place] = ""
    file.write_text("\n".join([head, *(",".join(row) for row in cells)]))

    assert contention.measured(opened(folder)).cases[0].runs[0].api_us is None


def test_slow_viewers_are_kept_apart_and_the_last_viewer_is_of_events(tmp_path: Path) -> None:
    folder = made_up.fan_out(
        tmp_path / "f", viewers=(100,), slow_shares=(0.05,), broadcasters=(1,), repetitions=1
    )

    (case,) = fan_out.measured(opened(folder)).cases

    assert (case.swift[0].count, case.slow[0].count, case.last[0].count) == (1900, 100, 20)


def test_offset_of_clocks_is_told_and_not_corrected(tmp_path: Path) -> None:
    folder = made_up.fan_out(tmp_path / "f", offset_us=2500, viewers=(10,), repetitions=1)

    measured = fan_out.measured(opened(folder))

    assert "differs from the server's by about 2,500 µs (± 150 µs)" in measured.notes[0]
    assert (measured.cases[0].swift[0].highest_at(0) or 0) >= 1500


def test_phases_share_bids_by_their_time(tmp_path: Path) -> None:
    folder = made_up.resilience(tmp_path / "r", faults=(("redis", "kill"),), rate_per_s=10)

    (case,) = resilience.measured(opened(folder)).cases

    assert {phase: span.outcomes.total() for phase, span in case.phases.items()} == {
        "before": 90,
        "fault": 100,
        "after": 100,
    }
    assert case.phases["fault"].outcomes["accepted"] == 60
    assert case.phases["fault"].answered.count == 60
    assert len(case.seconds) == 30


def test_lost_bids_and_failed_audits_are_told(tmp_path: Path) -> None:
    folder = made_up.resilience(tmp_path / "r", faults=(("nats", "stop"),), lost=2)

    assert resilience.measured(opened(folder)).problems == [
        "Run 1 (nats, stop): 2 accepted bids lost.",
        "Run 1 (nats, stop): the audit says: lamp: 2 accepted bids are in no store",
    ]


def test_files_that_an_incomplete_run_has_not_begun_are_told(tmp_path: Path) -> None:
    folder = made_up.resilience(tmp_path / "r", complete=False, ended=None)
    (folder / "runs.csv").unlink()
    (folder / "depth.csv.gz").unlink()

    measured = resilience.measured(opened(folder))

    assert measured.cases == []
    assert measured.notes[:2] == ["runs.csv was not begun.", "depth.csv.gz was not begun."]


def test_deliveries_of_swift_viewers_are_what_runs_csv_counts(tmp_path: Path) -> None:
    folder = made_up.fan_out(tmp_path / "f", viewers=(100,), repetitions=1)
    assert fan_out.measured(opened(folder)).problems == []
    with gzip.open(folder / "deliveries.csv.gz", "at") as text:
        text.write("1,0,0,99,500\n2,99,1,99,500\n")

    assert fan_out.measured(opened(folder)).problems == [
        "Run 1: `runs.csv` says 2,000 delivered, but `deliveries.csv.gz` holds 2,001."
    ]


def test_rate_that_depends_on_viewers_stays_one_scenario(tmp_path: Path) -> None:
    folder = made_up.fan_out(tmp_path / "f", slow_shares=(0.0,), broadcasters=(1,))
    file = folder / "runs.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line.replace(",20,10,100,", ",20,2.5,100,") for line in lines))

    measured = fan_out.measured(opened(folder))

    assert [scenario.name for scenario in measured.scenarios] == ["1 broadcaster, 0% slow"]
    assert [(case.viewers, case.rate_per_s) for case in measured.cases] == [(10, 10), (100, 2.5)]
