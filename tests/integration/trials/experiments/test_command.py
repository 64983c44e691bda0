"""`bidkit experiment` as users run it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.integration.trials.experiments.files import about

ROOT = Path(__file__).resolve().parents[4]
BIDKIT = (sys.executable, "-P", "-m", "pkg.devkit", "experiment")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_experiment_says_so_and_leaves_no_process(
    number: signal.Signals, tmp_path: Path, home: Path
) -> None:
    experiment = subprocess.Popen(
        [*BIDKIT, "contention", "--quick", "--results", str(tmp_path / "results")],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert experiment.stderr is not None
    for line in experiment.stderr:
        if line.startswith("contention 2/"):  # the second run begins
            break
    ours = [one for one in psutil.process_iter(["environ"]) if _is_of(one, home)]
    started = [*ours, *(child for one in ours for child in one.children(recursive=True))]
    names = [one.name() for one in started]

    experiment.send_signal(number)

    out, err = experiment.communicate(timeout=60)
    assert experiment.returncode == 130
    assert "Stopping; what was measured is kept." in err
    (folder,) = (tmp_path / "results").iterdir()
    assert f"{folder} (INCOMPLETE, 1 runs, " in out
    assert about(folder)["complete"] is False
    assert about(folder)["why_incomplete"] == "it was interrupted"
    assert sorted(one.name for one in folder.iterdir()) == [
        "run.json",
        "runs.csv",
        "samples.csv.gz",
    ]
    assert any("redis-server" in name for name in names)
    _, alive = psutil.wait_procs(started, timeout=5)
    assert alive == []


def _is_of(process: psutil.Process, home: Path) -> bool:
    """Whether it belongs to a system in this home."""
    environment = process.info["environ"] or {}
    return str(home) in environment.get("BIDKIT_HOME", "")
