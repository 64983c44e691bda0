"""Data of the same project that another checkout made."""

from pathlib import Path

import pytest

from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.place import Place
from pkg.devkit.process.home import Home
from tests.integration.devkit.conftest import docker

PROJECT = "bidding-not-ours"


def test_data_of_a_project_that_this_home_never_ran_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Place, "project", property(lambda _: PROJECT))
    label = f"--label=com.docker.compose.project={PROJECT}"
    volume = docker(
        *("volume", "create", label, "--label=com.docker.compose.volume=redis-data"),
        f"{PROJECT}_redis-data",
    ).strip()
    said: list[str] = []
    try:
        ComposeBackend(Home(tmp_path / "home")).down(volumes=True, say=said.append)

        assert docker("volume", "ls", "-q", "--filter", f"name={volume}").split() == [volume]
        assert said[-1] == "There was no data to delete."
    finally:
        docker("volume", "rm", volume)
