"""Interrupting an audit, a restore or a redrive."""

import re
import signal

import pytest

from pkg.devkit.compose.state_dir import StateDir
from tests.unit.devkit.compose.docker_command import DockerCommand
from tests.unit.devkit.compose.doubles import are_gone, mark_started
from tests.unit.devkit.compose.test_signals import INTERRUPTED, start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("verb", [("audit",), ("restore", "--yes"), ("redrive", "--yes")])
def test_interrupt_ends_the_command_and_removes_its_container(
    state_dir: StateDir, docker_command: DockerCommand, verb: tuple[str, ...], number: int
) -> None:
    mark_started(state_dir)
    docker_command.add_containers("redis")
    pids = docker_command.withhold_signals("run")

    with start(state_dir, *verb) as bidkit:
        assert bidkit.stdout is not None
        assert bidkit.stdout.readline() == "redis-1  | hello\n"
        for _ in range(2):
            bidkit.send_signal(number)
        bidkit.wait(timeout=30)

    assert bidkit.returncode == INTERRUPTED
    assert are_gone(pids)
    assert removed(docker_command) == [container(docker_command)] * 2


def container(docker_command: DockerCommand) -> str:
    """The name of the command's container."""
    (name,) = (
        found[1] for line in docker_command.calls if (found := re.search(r"--name (\S+)", line))
    )
    return name


def removed(docker_command: DockerCommand) -> list[str]:
    removal = "rm --force "
    return [line.removeprefix(removal) for line in docker_command.calls if line.startswith(removal)]
