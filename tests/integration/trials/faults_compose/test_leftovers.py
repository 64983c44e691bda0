"""A killed bench leaves its stack behind; the next one removes it."""

import os
import tempfile
from pathlib import Path

import pytest

from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.images import needed
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.home import Home
from pkg.trials.faults.containers.backend import end_leftovers
from tests.integration.devkit.conftest import docker

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a killed bench, which nobody locks, and a container."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    home = tmp_path / "bidkit-faults-compose-left"
    (home / "owner").mkdir(parents=True)
    project = StateDir(home).project
    docker(
        *("run", "-d", "--rm", "--label", f"com.docker.compose.project={project}"),
        *("--label", "com.docker.compose.service=redis", "--label=com.docker.compose.oneoff=False"),
        *("--label", "com.docker.compose.container-number=1"),
        *("--label", "com.docker.compose.config-hash=none", "--entrypoint", "sleep"),
        *(next(image for image in needed() if "redis" in image), "300"),
    )
    assert Engine().containers(project)
    return home


def test_stack_of_a_killed_bench_is_removed(left: Path) -> None:
    end_leftovers()

    assert Engine().containers(StateDir(left).project) == []
    assert not left.exists()


def test_folder_of_another_user_is_left_alone(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as another:
        another.setattr(os, "getuid", lambda: 4711)
        end_leftovers()

    assert left.exists()
    end_leftovers()


def test_stack_of_a_running_bench_is_left_alone(left: Path) -> None:
    with Home(left / "owner").lock():
        end_leftovers()

        assert Engine().containers(StateDir(left).project)
    end_leftovers()
