import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pkg.trials.experiments.recording import Recording


def _begin(results: Path) -> Recording:
    return Recording.begin(
        results,
        "contention",
        backend="process",
        quick=True,
        settings={"seconds": 1.5},
        command="./bidkit experiment contention --quick",
    )


def _about(recording: Recording) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((recording.folder / "run.json").read_text())
    return about


def test_a_running_experiment_is_incomplete_and_has_no_end(tmp_path: Path) -> None:
    with _begin(tmp_path) as recording:
        about = _about(recording)

    assert about["complete"] is False
    assert about["ended"] is None
    assert about["why_incomplete"] == "it still runs, or was killed"


def test_an_experiment_that_ends_is_complete(tmp_path: Path) -> None:
    with _begin(tmp_path) as recording:
        pass

    about = _about(recording)
    assert (about["complete"], about["why_incomplete"]) == (True, None)
    assert about["ended"] >= about["started"]
    assert about["settings"] == {"seconds": 1.5}
    assert about["machine"]["cores"] > 0


def test_an_interrupted_experiment_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    recording = _begin(tmp_path)

    def broken_off() -> None:
        with recording:
            recording.samples("samples.csv.gz", ("run", "at_s"), [(1, 0.5)])
            recording.ended({"run": 1, "audit": "ok"})
            recording.samples("samples.csv.gz", ("run", "at_s"), [(2, 0.25)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()

    about = _about(recording)
    assert (about["complete"], about["why_incomplete"]) == (False, "it was interrupted")
    with gzip.open(recording.folder / "samples.csv.gz", "rt") as file:
        assert list(csv.reader(file)) == [["run", "at_s"], ["1", "0.5"], ["2", "0.25"]]
    assert (recording.folder / "runs.csv").read_text() == "run,audit\n1,ok\n"


def test_an_experiment_that_fails_says_why(tmp_path: Path) -> None:
    recording = _begin(tmp_path)
    with pytest.raises(OSError, match="no route"), recording:
        raise OSError("no route to the gateway")

    assert _about(recording)["why_incomplete"] == "no route to the gateway"


def test_a_clients_lines_are_added_and_its_file_is_gone(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_text("1,0.1\n1,0.2\n")

    with _begin(tmp_path) as recording:
        recording.append("samples.csv.gz", ("run", "at_s"), part)

    with gzip.open(recording.folder / "samples.csv.gz", "rt") as file:
        assert file.read() == "run,at_s\n1,0.1\n1,0.2\n"
    assert not part.exists()


def test_two_experiments_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = {_begin(tmp_path).folder for _ in range(3)}

    assert len(folders) == 3


def test_a_note_is_kept_once(tmp_path: Path) -> None:
    with _begin(tmp_path) as recording:
        recording.note("the machine was busy")
        recording.note("the machine was busy")

    assert _about(recording)["notes"] == ["the machine was busy"]
