"""Verbs of compose as processes: signals end them, a closed output does not."""

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
from tests.unit.devkit.compose.doubles import are_gone, was_started

ROOT = Path(__file__).resolve().parents[4]
INTERRUPTED = 130


def begin(
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
def test_a_signal_ends_a_verb_and_the_compose_command_it_runs(
    state_dir: StateDir,
    docker_command: DockerCommand,
    verb: tuple[str, ...],
    phase: str,
    number: int,
) -> None:
    was_started(state_dir)
    docker_command.runs("redis")
    docker_command.lingers(phase, 15)

    with begin(state_dir, *verb) as bidkit:
        docker_command.await_call(f"{phase} lingers")
        bidkit.send_signal(number)
        said, _ = bidkit.communicate(timeout=30)

    assert (bidkit.returncode, "Traceback" in said) == (INTERRUPTED, False)
    assert f"{phase} was ended" in docker_command.calls


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_replicas_finish_draining_however_often_ctrl_c_is_pressed(
    state_dir: StateDir, docker_command: DockerCommand, number: int
) -> None:
    """A terminal signals its whole process group, not bidkit alone."""
    was_started(state_dir)
    Stack(state_dir).remember(Desired(replicas={API: 0, BROADCAST: 0, ARCHIVAL: 3}))
    docker_command.runs("redis", *[ARCHIVAL] * 3)
    docker_command.lingers("container stop", 2)

    with begin(state_dir, "scale", f"{ARCHIVAL}=1") as bidkit:
        docker_command.await_call("container stop lingers")
        for _ in range(3):
            os.killpg(bidkit.pid, number)
        said, _ = bidkit.communicate(timeout=30)

    assert (bidkit.returncode, len(docker_command.ids())) == (INTERRUPTED, 2), said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_followed_logs(
    state_dir: StateDir, docker_command: DockerCommand, number: int
) -> None:
    was_started(state_dir)
    docker_command.runs("redis")
    pids = docker_command.keeps_signals_to_itself("logs")

    with begin(state_dir, "logs", "-f") as bidkit:
        assert bidkit.stdout is not None
        assert bidkit.stdout.readline() == "redis | hello\n"
        bidkit.send_signal(number)
        said, _ = bidkit.communicate(timeout=15)

    assert (bidkit.returncode, said, are_gone(pids)) == (INTERRUPTED, "", True)


@pytest.mark.parametrize(
    ("verb", "afterwards"),
    [
        (("down",), []),
        (("up", "-d"), ["id1", "id2", "id3", "id4", "id5"]),
        (("scale", f"{API}=0", f"{ARCHIVAL}=2"), ["id1", "id2", "id3"]),
        (("restart", ARCHIVAL), ["id1", "id3"]),
    ],
)
def test_a_verb_does_its_work_although_its_output_is_closed(
    state_dir: StateDir, docker_command: DockerCommand, verb: tuple[str, ...], afterwards: list[str]
) -> None:
    was_started(state_dir)
    edge, api, broadcast = free_ports(3)
    replicas = {API: 0, BROADCAST: 0, ARCHIVAL: 1}
    Stack(state_dir).remember(Desired(api, broadcast, edge, replicas=replicas))
    docker_command.runs("redis", ARCHIVAL)

    with begin(state_dir, *verb) as bidkit:
        assert bidkit.stdout is not None
        bidkit.stdout.close()
        assert bidkit.wait(timeout=30) == 0

    assert docker_command.ids() == afterwards
    assert state_dir.running.exists() == bool(afterwards)


def test_a_verb_started_with_nohup_outlives_its_terminal(
    state_dir: StateDir, docker_command: DockerCommand
) -> None:
    was_started(state_dir)
    docker_command.runs("redis")
    docker_command.lingers("compose stop", 1)

    with begin(state_dir, "down", wrapper=("nohup",)) as bidkit:
        docker_command.await_call("compose stop lingers")
        bidkit.send_signal(signal.SIGHUP)
        said, _ = bidkit.communicate(timeout=30)

    assert (bidkit.returncode, docker_command.ids()) == (0, []), said
