"""A home, and a machine that knows neither Docker nor AWS nor boto3."""

import builtins
import os
from pathlib import Path
from typing import Any

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
def no_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python without the group `cloud` of the requirements."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:  # noqa: ANN401
        if name.partition(".")[0] in {"boto3", "botocore"}:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")
