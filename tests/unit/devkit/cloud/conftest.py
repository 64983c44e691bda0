"""A home, and a machine that knows neither Docker nor AWS."""

import os
from pathlib import Path

import pytest

from pkg.devkit.home import Home


@pytest.fixture
def no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker command that knows nothing, and no AWS in the environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    docker = folder / "docker"
    docker.write_text("#!/bin/sh\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for name in list(os.environ):
        if name.startswith(("AWS_", "TF_")):
            monkeypatch.delenv(name)
    return docker


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")
