"""`bidkit fault` as users run it."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from pkg.devkit.ports import CLAIMS
from pkg.trials.faults.document import section
from pkg.trials.faults.report import HEADS
from pkg.trials.faults.rows import CONTROLS, ROWS
from pkg.trials.waiting import until

NOT_MEASURED_YET = {
    *(
        f"two-primaries-{which}-items-{side}-demoted"
        for which in ("same", "other")
        for side in ("old", "new")
    ),
    *("second-environment", "second-environment-with-bids", "redis-moved"),
}
"""Rows made after docs/faults.md; empty it once that is made again."""
ROOT = Path(__file__).resolve().parents[4]
BIDKIT = (sys.executable, "-m", "pkg.devkit", "fault")


def test_report_that_cannot_be_written_is_refused_before_any_row_runs(tmp_path: Path) -> None:
    ran = subprocess.run(
        [*BIDKIT, "run", "nats-stopped", "--report", str(tmp_path / "nowhere" / "report.md")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert ran.returncode == 2
    assert ran.stderr.endswith("nowhere/report.md cannot be written to.\n")
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.timeout(180)
def test_broken_promise_is_reported_with_exit_code_1(tmp_path: Path) -> None:
    report = tmp_path / "report.md"

    ran = subprocess.run(
        [*BIDKIT, "run", "control-entry-removed", "--short", "--report", str(report)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert ran.returncode == 1, ran.stderr
    assert "1 accepted bids are lost" in ran.stderr
    assert "the audit ends with 1" in ran.stderr
    assert "| control-entry-removed |" in report.read_text()
    assert "**fails**" in report.read_text()


@pytest.mark.timeout(120)
async def test_sigterm_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    bench = await asyncio.create_subprocess_exec(
        *(*BIDKIT, "run", "nats-stopped", "--short"),
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    children: list[psutil.Process] = []

    def everything_runs() -> bool:
        children[:] = psutil.Process(bench.pid).children(recursive=True)
        return sum("pkg." in " ".join(one.cmdline()) for one in children if one.is_running()) >= 5

    await until(everything_runs, within_s=60, forgiving=(psutil.Error,))

    bench.send_signal(signal.SIGTERM)

    assert await asyncio.wait_for(bench.wait(), timeout=40) == 128 + signal.SIGTERM
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    assert _inside(tmp_path) == []


def _inside(folder: Path) -> list[Path]:
    """The folder's entries, without the user's file of claimed ports, which stays."""
    return [path for path in folder.iterdir() if path.name != CLAIMS.name]


def test_help_explains_every_column_that_is_shown() -> None:
    ran = subprocess.run(
        [*BIDKIT, "run", "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )

    shown = " ".join(ran.stdout.split())
    plain = {"row", "requests", "accepted", "archived", "verdict"}
    heads = {head.removesuffix(" s") for head in HEADS} - plain
    assert [head for head in heads if not re.search(rf"\b{head}[:,]", shown)] == []


def test_unknown_row_is_named_with_exit_code_2() -> None:
    ran = subprocess.run(
        [*BIDKIT, "run", "no-such-row"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert ran.returncode == 2
    assert "there is no row 'no-such-row'" in ran.stderr


def test_names_of_rows_are_unique() -> None:
    names = [row.name for row in (*ROWS, *CONTROLS)]

    assert len(set(names)) == len(names)


def test_document_has_every_row_in_order() -> None:
    text = section((ROOT / "docs" / "faults.md").read_text(encoding="utf-8"), "process")

    listed = re.findall(r"^\| ([a-z-]+) \| \d", text, re.MULTILINE)

    wanted = [row for row in ROWS if row.name not in NOT_MEASURED_YET]
    assert listed == [row.name for row in wanted]
    lines = text.splitlines()
    assert [row.name for row in wanted if f"- **{row.name}**: {row.expects}" not in lines] == []


def test_document_is_from_a_full_run_that_passed() -> None:
    text = section((ROOT / "docs" / "faults.md").read_text(encoding="utf-8"), "process")

    assert re.search(r"`\./bidkit fault run --all (-j \d )?--report docs/faults.md`", text)
    assert "**fails**" not in text
    assert tempfile.gettempdir() not in text
