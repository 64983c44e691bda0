"""An engine that is a file, and a home whose system runs on it."""

import tempfile
from pathlib import Path

import pytest

from pkg.devkit.compose import images
from pkg.devkit.compose.state_dir import StateDir
from tests.unit.devkit.compose.standin import Engine


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """First on PATH; what is known of built images, and the lock of a build, are its own."""
    monkeypatch.setattr(images, "BUILT", tmp_path / "images.json")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Engine(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}:/usr/bin:/bin")
    return made


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "home")
