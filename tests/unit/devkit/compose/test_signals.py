"""What a signal does to a verb that waits for compose, and what a reader that is gone does not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.system import Desired
from tests.integration.ports import free_ports
from tests.unit.devkit.compose.standin import Engine, are_gone, hands_nothing_on, was_started

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
def test_a_verb_that_is_told_to_end_ends_what_compose_is_at(
    state_dir: StateDir, engine: Engine, verb: tuple[str, ...], phase: str, number: int
) -> None:
    was_started(state_dir)
    engine.runs(redis=1)
    engine.will(phase, lingers_s=15)

    with begin(state_dir, *verb) as bidkit:
        engine.awaits_call(f"{phase} lingers")
        bidkit.send_signal(number)
        said, _ = bidkit.communicate(timeout=30)

    assert (bidkit.returncode, "Traceback" in said) == (INTERRUPTED, False)
    assert f"{phase} was ended" in engine.calls


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_replicas_that_drain_when_a_terminal_says_so_again_and_again_do_so_to_their_end(
    state_dir: StateDir, engine: Engine, number: int
) -> None:
    """A terminal tells it to all that runs in it, docker's own commands too."""
    was_started(state_dir)
    Stack(state_dir).remember(Desired(replicas={API: 0, BROADCAST: 0, ARCHIVAL: 3}))
    engine.runs(redis=1, archival_worker=3)
    engine.will("container stop", lingers_s=2)

    with begin(state_dir, "scale", f"{ARCHIVAL}=1") as bidkit:
        engine.awaits_call("container stop lingers")
        for _ in range(3):
            os.killpg(bidkit.pid, number)
        said, _ = bidkit.communicate(timeout=30)

    assert (bidkit.returncode, len(engine.containers(ARCHIVAL))) == (INTERRUPTED, 1), said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_logs_that_are_followed_end_with_bidkit(
    state_dir: StateDir, engine: Engine, number: int
) -> None:
    was_started(state_dir)
    engine.runs(redis=1)
    pids = hands_nothing_on(engine, "logs")

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
        (("up", "-d"), ["id2"]),
        (("scale", f"{API}=0", f"{ARCHIVAL}=2"), ["id2", "id3"]),
        (("restart", ARCHIVAL), ["id3"]),
    ],
)
def test_a_verb_that_nobody_listens_to_any_more_does_its_work(
    state_dir: StateDir, engine: Engine, verb: tuple[str, ...], afterwards: list[str]
) -> None:
    was_started(state_dir)
    edge, api, broadcast = free_ports(3)
    replicas = {API: 0, BROADCAST: 0, ARCHIVAL: 1}
    Stack(state_dir).remember(Desired(api, broadcast, edge, replicas=replicas))
    engine.runs(redis=1, archival_worker=1)
    engine.has_stopped("id2")

    with begin(state_dir, *verb) as bidkit:
        assert bidkit.stdout is not None
        bidkit.stdout.close()
        assert bidkit.wait(timeout=30) == 0

    running = [one["id"] for one in engine.containers(ARCHIVAL) if one["status"] == "running"]
    assert running == afterwards
    assert state_dir.running.exists() == bool(afterwards)


def test_a_verb_that_was_started_to_outlive_its_terminal_does(
    state_dir: StateDir, engine: Engine
) -> None:
    was_started(state_dir)
    engine.runs(redis=1)
    engine.will("compose stop", lingers_s=1)

    with begin(state_dir, "down", wrapper=("nohup",)) as bidkit:
        engine.awaits_call("compose stop lingers")
        bidkit.send_signal(signal.SIGHUP)
        said, _ = bidkit.communicate(timeout=30)

    assert (bidkit.returncode, engine.containers()) == (0, []), said
