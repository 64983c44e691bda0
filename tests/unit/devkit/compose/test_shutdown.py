"""How a system ends, also where its engine does not play along."""

import signal

import pytest

from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.shutdown import Shutdown
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import BidkitError, MissingServer
from pkg.devkit.home import Home
from pkg.devkit.signals import Interrupt
from tests.unit.devkit.compose.standin import Engine, meanwhile, was_started


@pytest.fixture
def backend(state_dir: StateDir, engine: Engine) -> ComposeBackend:
    was_started(state_dir)
    engine.runs(api_gateway=2, redis=1)
    return ComposeBackend(Home(state_dir.home))


@pytest.mark.parametrize("command", ["ps", "compose stop", "compose down"])
def test_a_down_whose_engine_fails_forgets_nothing_and_the_next_one_works(
    backend: ComposeBackend, state_dir: StateDir, engine: Engine, command: str
) -> None:
    said: list[str] = []
    engine.will(command, says="Cannot connect to the Docker daemon at unix:///x.")
    with pytest.raises(BidkitError, match="no Docker engine answers"):
        backend.down(volumes=False, say=said.append)

    engine.is_well()
    still_there = backend.status()
    backend.down(volumes=False, say=said.append)

    assert len(still_there.of("api-gateway").replicas) == 2
    assert said[-1] == "Everything is stopped."
    assert (engine.containers(), state_dir.running.exists()) == ([], False)


def test_what_is_being_stopped_is_wanted_no_more_though_it_is_still_known(
    state_dir: StateDir,
) -> None:
    was_started(state_dir)

    with state_dir.being_stopped(within_s=0, busy="busy"):
        during = (state_dir.is_wanted, state_dir.running.exists())

    assert during == (False, True)
    assert state_dir.is_wanted


def test_a_down_that_leaves_a_container_says_which(
    backend: ComposeBackend, state_dir: StateDir, engine: Engine
) -> None:
    engine.will("compose down", does_nothing=True)

    with pytest.raises(BidkitError, match="redis could not be removed; `bidkit down` tries again"):
        backend.down(volumes=False, say=lambda _: None)

    assert state_dir.running.exists()


def test_without_an_engine_and_without_a_system_down_says_that_none_answers(
    state_dir: StateDir, engine: Engine
) -> None:
    engine.is_lost()

    with pytest.raises(MissingServer, match="no Docker engine answers"):
        ComposeBackend(Home(state_dir.home)).down(volumes=False, say=lambda _: None)


def test_containers_of_a_home_whose_notes_are_gone_are_ended_too(
    backend: ComposeBackend, state_dir: StateDir, engine: Engine
) -> None:
    for file in state_dir.folder.iterdir():
        file.unlink()
    state_dir.folder.rmdir()
    engine.runs(redis=1)

    backend.down(volumes=False, say=lambda _: None)

    assert engine.containers() == []


def stopped_by_one_who_asks_twice(state_dir: StateDir, engine: Engine, *, during: str) -> list[str]:
    """What is said meanwhile; `during` is the command that lingers, and is then hurried."""
    engine.will(during, lingers_s=60)
    said: list[str] = []

    def loses_patience() -> None:
        engine.awaits_call(f"{during} lingers")
        interrupt.ask(signal.SIGINT)

    interrupt = Interrupt()
    interrupt.ask(signal.SIGINT)
    with meanwhile(loses_patience):
        stopped = Shutdown(state_dir, Stack(state_dir)).run_own(
            state_dir.begin_run(), said.append, interrupt
        )

    assert stopped
    return said


@pytest.mark.parametrize("phase", ["compose stop", "compose down"])
def test_a_person_who_asks_twice_has_what_has_not_ended_killed(
    backend: ComposeBackend, state_dir: StateDir, engine: Engine, phase: str
) -> None:
    said = stopped_by_one_who_asks_twice(state_dir, engine, during=phase)

    assert said.count("hurrying: what has not ended yet is killed") == 1
    assert f"{phase} was hurried" in engine.calls
    assert {"api-gateway-1 is stopped", "redis is stopped"} <= set(said)
    assert (engine.containers(), state_dir.running.exists()) == ([], False)


def test_a_kill_that_the_engine_did_not_do_is_asked_of_it_again(
    backend: ComposeBackend, state_dir: StateDir, engine: Engine
) -> None:
    engine.will("compose kill", says="the engine is busy", times=1)

    said = stopped_by_one_who_asks_twice(state_dir, engine, during="compose stop")

    assert said.count("hurrying: what has not ended yet is killed") == 1
    assert "compose stop was hurried" in engine.calls


def test_a_terminal_that_closes_twice_hurries_nobody(
    backend: ComposeBackend, state_dir: StateDir, engine: Engine
) -> None:
    engine.will("compose stop", lingers_s=1)
    said: list[str] = []
    interrupt = Interrupt()
    for _ in range(2):
        interrupt.ask(signal.SIGHUP)

    Shutdown(state_dir, Stack(state_dir)).run_own(state_dir.begin_run(), said.append, interrupt)

    assert not any("hurrying" in line for line in said)
    assert "compose stop came to its end" in engine.calls
    assert not any(line.endswith(" kill") for line in engine.calls)
    assert engine.containers() == []
