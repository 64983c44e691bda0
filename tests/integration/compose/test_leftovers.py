"""A test run removes what killed runs left, and nothing of running ones."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.compose import leftovers
from tests.integration.compose.leftovers import NOTHING, OWNER, end_leftovers, owned, remaining
from tests.integration.compose.standalone_edge import IMAGE
from tests.integration.devkit.conftest import ROOT, docker

pytestmark = pytest.mark.timeout(120)

NAME = f"bidding-left-{uuid4().hex[:8]}"

OWNING = f"""
import sys
from pathlib import Path
from uuid import uuid4
from tests.integration.compose import leftovers
leftovers.FOLDER = Path(sys.argv[1])
with leftovers.owned("{NAME}"):
    print("owned", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder than the one that this test run uses."""
    monkeypatch.setattr(leftovers, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def owner(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", OWNING, folder],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "owned\n"
        yield process
        process.kill()


@pytest.fixture
def made(owner: "subprocess.Popen[str]") -> Iterator[dict[str, list[str]]]:
    """A compose project, and a container outside of it labelled with OWNER."""
    project = f"--label=com.docker.compose.project={NAME}"
    docker("volume", "create", project, f"{NAME}_data")
    docker("network", "create", project, f"{NAME}_default")
    try:
        for label in (project, f"--label={OWNER}={NAME}"):
            docker(
                *("run", "-d", label, "--restart=unless-stopped", f"--network={NAME}_default"),
                *("-v", f"{NAME}_data:/data", "--entrypoint=sleep", IMAGE, "300"),
            )
        yield remaining(NAME)
    finally:
        leftovers._remove(NAME)


def test_leftovers_of_a_killed_run_are_removed(
    owner: "subprocess.Popen[str]", made: dict[str, list[str]], folder: Path
) -> None:
    assert [len(made[kind]) for kind in NOTHING] == [2, 1, 1]
    owner.send_signal(signal.SIGKILL)
    owner.wait()

    end_leftovers()

    assert remaining(NAME) == NOTHING
    assert not (folder / NAME).exists()


def test_containers_of_a_live_run_are_left_alone(made: dict[str, list[str]]) -> None:
    end_leftovers()

    assert remaining(NAME) == made


def test_after_a_failure_cleanup_is_left_to_the_next_run(folder: Path) -> None:
    with owned(NAME):
        assert (folder / NAME).exists()
    assert not (folder / NAME).exists()

    with pytest.raises(RuntimeError), owned(NAME):
        raise RuntimeError
    assert (folder / NAME).exists()
