"""What doctor reports about the engine and ports."""

import socket
from pathlib import Path

import pytest

from pkg.devkit.doctor import docker, examine, port
from pkg.devkit.home import Home
from pkg.devkit.ports import free_ports
from pkg.devkit.process.backend import ProcessBackend
from tests.unit.devkit.compose.docker_command import DockerCommand


@pytest.mark.usefixtures("docker_command")
def test_engine_is_shown_with_its_version() -> None:
    found = docker()

    assert (found.well, found.says) == (True, "engine 99.0")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Cannot connect to the Docker daemon at unix:///x.", "no Docker engine answers (Cannot"),
        ("it is confused", "docker failed: it is confused"),
    ],
)
def test_reason_why_the_engine_does_not_answer_is_shown(
    docker_command: DockerCommand, message: str, expected: str
) -> None:
    docker_command.fail_with(message)

    found = docker()

    assert (found.well, found.needed) == (False, False)
    assert found.says.startswith(expected)


def test_missing_docker_command_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    assert docker().says == "the command docker is not on PATH"


def test_taken_port_is_shown_with_the_option_for_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]

        found = port("--edge-port", number)

    assert (found.subject, found.well, found.needed) == (f"port {number}", False, False)
    assert found.says == "taken by another program; `bidkit up --edge-port` chooses another"


def test_free_port_is_fine() -> None:
    (number,) = free_ports(1)

    assert port("--edge-port", number).well


@pytest.mark.usefixtures("docker_command")
def test_edge_port_is_checked_only_with_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_engine = checked_ports(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")

    assert with_engine == ["port 8080", "port 8081", "port 8000"]
    assert checked_ports(tmp_path) == ["port 8080", "port 8081"]


def checked_ports(home: Path) -> list[str]:
    findings = examine(ProcessBackend(Home(home)))
    return [one.subject for one in findings if one.subject.startswith("port ")]
