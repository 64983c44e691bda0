"""An engine that is a file, and a home whose system runs on it."""

from pathlib import Path

import pytest

from pkg.devkit.compose.place import Place
from tests.unit.devkit.compose.standin import Engine


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}:/usr/bin:/bin")
    return made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "home")
