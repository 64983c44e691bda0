"""The whole way from raw files to the pages, with matplotlib."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pkg.devkit.settings import PROJECT
from pkg.trials.report.document import Document, Plot, Table
from pkg.trials.report.report import document
from pkg.trials.report.results import named
from tests.unit.trials.report import made_up

CONTENTION = "20261129T200000Z-contention"
FAN_OUT = "20261129T201000Z-fan-out"
RESILIENCE = "20261129T203000Z-resilience"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    parent = tmp_path_factory.mktemp("results")
    return [
        made_up.contention(
            parent / "20261128T200000Z-contention", started="2026-11-28T20:00:00Z", samples=2000
        ),
        made_up.contention(parent / CONTENTION, slower=1.5, seed=2, samples=2000),
        made_up.fan_out(parent / FAN_OUT),
        made_up.resilience(parent / RESILIENCE),
    ]


@pytest.fixture(scope="module")
def made(folders: list[Path]) -> Document:
    return document(named(folders))


def report(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "pkg.devkit", "report", *map(str, arguments)],
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_plot_is_there_and_is_an_image_without_date(made: Document) -> None:
    names = [plot.name for plot in made.plots]

    assert names == [
        *("contention-throughput-1", "contention-latency-1", "contention-cpu-1"),
        *("contention-throughput", "contention-latency", "contention-cpu"),
        *("fan-out-latency", "fan-out-percentiles", "fan-out-costs"),
        *("resilience-nats-stop-1", "resilience-redis-kill-2", "resilience-api-gateway-kill-3"),
    ]
    for plot in made.plots:
        assert ET.fromstring(plot.svg).tag.endswith("svg")  # noqa: S314 - just drawn
        assert "<dc:date>" not in plot.svg


def test_every_figure_is_traced_to_a_raw_file_and_its_columns(
    made: Document, folders: list[Path]
) -> None:
    heads = {
        f"{folder.name}/{file.name}": _columns(file)
        for folder in folders
        for file in folder.iterdir()
        if file.name != "run.json"
    }
    traced = 0
    for block in made.blocks:
        if not isinstance(block, Plot | Table):
            continue
        named_files = [name for name in re.findall(r"`([^`]+)`", block.source) if name in heads]
        assert named_files or isinstance(block, Table), block
        columns = {column for name in named_files for column in heads[name]}
        if named_files:
            traced += 1
            assert any(re.search(rf"\b{column}\b", block.source) for column in columns), block
    assert traced > len(made.plots)


def test_same_results_give_the_same_bytes(folders: list[Path], made: Document) -> None:
    again = document(named(folders))

    assert again == made


def test_numbers_of_the_tables_are_those_of_the_raw_file(
    made: Document, folders: list[Path]
) -> None:
    lines = (folders[1] / "runs.csv").read_text().splitlines()
    head = lines[0].split(",")
    rates = sorted(
        int(row[head.index("requests")]) / float(row[head.index("seconds")])
        for row in (line.split(",") for line in lines[1:])
        if row[head.index("strategy")] == "lua" and row[head.index("users")] == "100"
    )

    table = next(
        block
        for block in made.blocks
        if isinstance(block, Table)
        and f"{CONTENTION}/runs.csv" in block.source
        and "requests/s" in block.heads
    )
    row = dict(zip(table.heads, table.rows[0], strict=True))

    assert (row["strategy"], row["users"], row["runs"]) == ("lua", "100", "3")
    assert row["requests/s"] == f"{rates[1]:,.0f}"


def test_original_stands_beside_with_its_caveats(made: Document) -> None:
    table = next(
        block
        for block in made.blocks
        if isinstance(block, Table) and "requests/s: original" in block.heads
    )
    rows = {(row[0], row[1]): row for row in table.rows}

    assert rows["lua", "1,000"][2] == "14,466"
    assert rows["optimistic", "1,000"][4] == "83.6"
    assert rows["lua", "10,000"][3] == "\N{EN DASH}"
    assert rows["lua", "1,000"][6] == "7,233"


def test_command_writes_page_markdown_and_plots_and_removes_stale_plots(
    folders: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("prose")
    (out / "contention-of-old.svg").write_text("stale")

    done = report(folders[1], folders[3], "--out", out)

    assert (done.returncode, done.stderr) == (0, "")
    text = (out / "report.md").read_text()
    shown = re.findall(r"\]\(([^)]+\.svg)\)", text)
    assert sorted(shown) == sorted(path.name for path in out.glob("*.svg"))
    assert (out / "README.md").read_text() == "prose"
    page = (out / "report.html").read_text()
    assert page.count('src="data:image/svg+xml;base64,') == len(shown) == page.count("src=")
    assert str(tmp_path) not in page + text


def test_incomplete_results_are_told_in_the_page_and_on_standard_error(tmp_path: Path) -> None:
    folder = made_up.contention(
        tmp_path / CONTENTION,
        samples=100,
        complete=False,
        ended=None,
        why_incomplete="interrupted",
    )

    done = report(folder, "--out", tmp_path / "out")

    sentence = "is incomplete (interrupted): only runs that ended are in figures."
    assert done.returncode == 0
    assert f"bidkit: {CONTENTION} {sentence}" in done.stderr
    assert sentence in (tmp_path / "out/report.html").read_text()
    assert sentence in (tmp_path / "out/report.md").read_text()


@pytest.mark.parametrize("make", [made_up.contention, made_up.fan_out, made_up.resilience])
def test_results_without_a_run_that_ended_say_so(tmp_path: Path, make: object) -> None:
    assert callable(make)
    folder = make(tmp_path / "broken", complete=False, ended=None, why_incomplete="Ctrl-C")
    file = folder / "runs.csv"
    file.write_text(file.read_text().splitlines()[0] + "\n")

    done = report(folder, "--out", tmp_path / "out")

    assert done.returncode == 0
    assert "No run of this experiment ended" in (tmp_path / "out/report.md").read_text()


def test_kept_copies_are_what_the_report_is_made_of(folders: list[Path], tmp_path: Path) -> None:
    kept = tmp_path / "kept"

    done = report(*folders, "--keep", kept, "--out", tmp_path / "out")
    again = report(*kept.iterdir(), "--out", tmp_path / "again")

    assert (done.returncode, again.returncode) == (0, 0), done.stderr + again.stderr
    assert {each.name for each in kept.iterdir()} == {each.name for each in folders}
    first, second = (tmp_path / folder / "report.md" for folder in ("out", "again"))
    assert first.read_text() == second.read_text()


def test_the_project_s_report_shows_plots_that_there_are(made: Document) -> None:
    prose = (PROJECT / "docs" / "report" / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^\]]+\]\(([a-z-]+)\.svg\)", prose)

    assert shown
    assert set(shown) <= {plot.name for plot in made.plots}


def test_missing_column_is_a_sentence_and_leaves_an_earlier_report_alone(tmp_path: Path) -> None:
    folder = made_up.resilience(tmp_path / RESILIENCE)
    file = folder / "runs.csv"
    file.write_text(file.read_text().replace("drain_s", "drained"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.md").write_text("earlier")

    done = report(folder, "--out", out)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"bidkit: {file} has no column 'drain_s'.\n"
    assert (out / "report.md").read_text() == "earlier"


def _columns(file: Path) -> list[str]:
    import gzip

    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt") as text:
        return str(text.readline()).strip().split(",")
