"""A home folder, an in-memory engine and a fake docker command."""

import tempfile
from pathlib import Path

import pytest

from pkg.devkit.compose import images
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.home import Home
from tests.unit.devkit.compose.docker_command import DockerCommand
from tests.unit.devkit.compose.fake_engine import FakeEngine


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "home")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Has its own record and lock of image builds."""
    monkeypatch.setattr(images, "BUILT", tmp_path / "images.json")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return FakeEngine()


@pytest.fixture
def stack(state_dir: StateDir, engine: FakeEngine) -> Stack:
    return Stack(state_dir, engine)


@pytest.fixture
def compose(state_dir: StateDir, engine: FakeEngine) -> ComposeBackend:
    return ComposeBackend(Home(state_dir.home), engine)


@pytest.fixture
def docker_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerCommand:
    """The fake docker command, first on PATH."""
    command = DockerCommand(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{command.folder}:/usr/bin:/bin")
    return command
