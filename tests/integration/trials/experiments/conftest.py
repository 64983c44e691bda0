from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of the test's own, in which nothing of an experiment may be left."""
    folder = tmp_path / "home"
    monkeypatch.setenv("BIDKIT_HOME", str(folder))
    yield folder
    assert not (folder / "experiment" / "system").exists()
