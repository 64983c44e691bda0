"""In this environment matplotlib is missing, as where bidkit was just installed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from pkg.devkit.settings import PROJECT
from tests.unit.trials.report import made_up


def bidkit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "pkg.devkit", *arguments],
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is not None, reason="matplotlib is installed"
)
def test_missing_library_is_one_sentence_that_says_how_to_install_it(tmp_path: Path) -> None:
    folder = made_up.contention(tmp_path / "results", samples=5)

    done = bidkit("report", str(folder), "--out", str(tmp_path / "out"))

    assert done.returncode == 1
    assert "which is not installed" in done.stderr
    assert "pip install --require-hashes --requirement requirements/report.txt" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_bad_folder_is_told_before_anything_else(tmp_path: Path) -> None:
    done = bidkit("report", str(tmp_path), "--out", str(tmp_path / "out"))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"bidkit: {tmp_path} holds no results: it has no run.json.\n"


def test_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")

    done = bidkit("report", "--out", str(tmp_path / "out"))

    assert done.returncode == 2
    assert "cannot be a folder" in done.stderr
