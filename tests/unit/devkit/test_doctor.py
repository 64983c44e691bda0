"""What doctor says of an engine, by the stand-in's."""

import pytest

from pkg.devkit.doctor import docker
from tests.unit.devkit.compose.standin import Engine


def test_an_engine_is_told_with_its_version(engine: Engine) -> None:
    found = docker()

    assert (found.well, found.says) == (True, "engine 27.0")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("Cannot connect to the Docker daemon at unix:///x.", "no Docker engine answers (Cannot"),
        ("it is confused", "docker failed: it is confused"),
    ],
)
def test_what_keeps_it_from_answering_is_told(engine: Engine, command: str, said: str) -> None:
    engine.will("version", says=command)

    found = docker()

    assert (found.well, found.needed) == (False, False)
    assert found.says.startswith(said)


def test_without_the_command_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    assert docker().says == "the command docker is not on PATH"
