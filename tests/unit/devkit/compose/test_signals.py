"""Verbs on compose as processes: signals end them, a closed output does not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.ports import free_ports
from pkg.devkit.system import Desired
from tests.unit.devkit.compose.docker_command import DockerCommand
from tests.unit.devkit.compose.doubles import are_gone, mark_started

ROOT = Path(__file__).resolve().parents[4]
INTERRUPTED = 130


def start(
    state_dir: StateDir, *arguments: str, wrapper: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (*wrapper, sys.executable, "-P", "-m", "pkg.devkit", *arguments),
        env={**os.environ, "BIDKIT_HOME": str(state_dir.home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("verb", "phase"), [(("down",), "compose stop"), (("up", "-d"), "compose up")]
)
def test_signal_ends_a_verb_and_its_compose_command(
    state_dir: StateDir,
    docker_command: DockerCommand,
    verb: tuple[str, ...],
    phase: str,
    number: int,
) -> None:
    mark_started(state_dir)
    docker_command.add_containers("redis")
    docker_command.delay(phase, 15)

    with start(state_dir, *verb) as bidkit:
        docker_command.await_call(f"{phase} is delayed")
        bidkit.send_signal(number)
        output, _ = bidkit.communicate(timeout=30)

    assert (bidkit.returncode, "Traceback" in output) == (INTERRUPTED, False)
    assert f"{phase} was ended" in docker_command.calls


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_replicas_finish_draining_after_repeated_ctrl_c(
    state_dir: StateDir, docker_command: DockerCommand, number: int
) -> None:
    """A terminal signals the whole process group."""
    mark_started(state_dir)
    Stack(state_dir).remember(Desired(replicas={API: 0, BROADCAST: 0, ARCHIVAL: 3}))
    docker_command.add_containers("redis", *[ARCHIVAL] * 3)
    docker_command.delay("container stop", 2)

    with start(state_dir, "scale", f"{ARCHIVAL}=1") as bidkit:
        docker_command.await_call("container stop is delayed")
        for _ in range(3):
            os.killpg(bidkit.pid, number)
        output, _ = bidkit.communicate(timeout=30)

    assert (bidkit.returncode, len(docker_command.ids())) == (INTERRUPTED, 2), output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_followed_logs(
    state_dir: StateDir, docker_command: DockerCommand, number: int
) -> None:
    mark_started(state_dir)
    docker_command.add_containers("redis")
    pids = docker_command.withhold_signals("logs")

    with start(state_dir, "logs", "-f") as bidkit:
        assert bidkit.stdout is not None
        assert bidkit.stdout.readline() == "redis | hello\n"
        bidkit.send_signal(number)
        output, _ = bidkit.communicate(timeout=15)

    assert (bidkit.returncode, output, are_gone(pids)) == (INTERRUPTED, "", True)


@pytest.mark.parametrize(
    ("verb", "afterwards"),
    [
        (("down",), []),
        (("up", "-d"), ["id1", "id2", "id3", "id4", "id5"]),
        (("scale", f"{API}=0", f"{ARCHIVAL}=2"), ["id1", "id2", "id3"]),
        (("restart", ARCHIVAL), ["id1", "id3"]),
    ],
)
def test_verb_completes_with_a_closed_output(
    state_dir: StateDir, docker_command: DockerCommand, verb: tuple[str, ...], afterwards: list[str]
) -> None:
    mark_started(state_dir)
    edge, api, broadcast = free_ports(3)
    replicas = {API: 0, BROADCAST: 0, ARCHIVAL: 1}
    Stack(state_dir).remember(Desired(api, broadcast, edge, replicas=replicas))
    docker_command.add_containers("redis", ARCHIVAL)

    with start(state_dir, *verb) as bidkit:
        assert bidkit.stdout is not None
        bidkit.stdout.close()
        assert bidkit.wait(timeout=30) == 0

    assert docker_command.ids() == afterwards
    assert state_dir.running.exists() == bool(afterwards)


def test_verb_started_with_nohup_outlives_its_terminal(
    state_dir: StateDir, docker_command: DockerCommand
) -> None:
    mark_started(state_dir)
    docker_command.add_containers("redis")
    docker_command.delay("compose stop", 1)

    with start(state_dir, "down", wrapper=("nohup",)) as bidkit:
        docker_command.await_call("compose stop is delayed")
        bidkit.send_signal(signal.SIGHUP)
        output, _ = bidkit.communicate(timeout=30)

    assert (bidkit.returncode, docker_command.ids()) == (0, []), output
