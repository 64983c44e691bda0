"""What doctor says of an engine, by the stand-in's, and of ports."""

import socket
from pathlib import Path

import pytest

from pkg.devkit.doctor import docker, examine, port
from pkg.devkit.home import Home
from pkg.devkit.ports import free_ports
from pkg.devkit.process.backend import ProcessBackend
from tests.unit.devkit.compose.docker_command import DockerCommand


@pytest.mark.usefixtures("docker_command")
def test_an_engine_is_told_with_its_version() -> None:
    found = docker()

    assert (found.well, found.says) == (True, "engine 99.0")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("Cannot connect to the Docker daemon at unix:///x.", "no Docker engine answers (Cannot"),
        ("it is confused", "docker failed: it is confused"),
    ],
)
def test_what_keeps_it_from_answering_is_told(
    docker_command: DockerCommand, command: str, said: str
) -> None:
    docker_command.fails(command)

    found = docker()

    assert (found.well, found.needed) == (False, False)
    assert found.says.startswith(said)


def test_without_the_command_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    assert docker().says == "the command docker is not on PATH"


def test_a_taken_port_is_told_with_the_option_for_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]

        found = port("--edge-port", number)

    assert (found.subject, found.well, found.needed) == (f"port {number}", False, False)
    assert found.says == "taken by another program; `bidkit up --edge-port` chooses another"


def test_a_free_port_is_told_too() -> None:
    (number,) = free_ports(1)

    assert port("--edge-port", number).well


@pytest.mark.usefixtures("docker_command")
def test_the_edges_port_is_looked_at_where_there_can_be_an_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_engine = looked_at(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")

    assert with_engine == ["port 8080", "port 8081", "port 8000"]
    assert looked_at(tmp_path) == ["port 8080", "port 8081"]


def looked_at(home: Path) -> list[str]:
    findings = examine(ProcessBackend(Home(home)))
    return [one.subject for one in findings if one.subject.startswith("port ")]
