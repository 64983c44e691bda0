"""Stopping a system, also with a failing engine."""

import signal

import pytest

from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.shutdown import Shutdown
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import STOPPING, StateDir
from pkg.devkit.errors import BidkitError, MissingServer
from pkg.devkit.signals import Cancellation
from tests.unit.devkit.compose.doubles import mark_started
from tests.unit.devkit.compose.fake_engine import FakeEngine


@pytest.fixture
def backend(state_dir: StateDir, engine: FakeEngine, compose: ComposeBackend) -> ComposeBackend:
    mark_started(state_dir)
    engine.add_running(api_gateway=2, redis=1)
    return compose


@pytest.mark.parametrize("command", ["ps", "compose stop", "compose down"])
def test_down_works_after_one_whose_engine_failed(
    backend: ComposeBackend, state_dir: StateDir, engine: FakeEngine, command: str
) -> None:
    said: list[str] = []
    engine.set_behaviour(command, error="Cannot connect to the Docker daemon at unix:///x.")
    with pytest.raises(BidkitError, match="no Docker engine answers"):
        backend.down(volumes=False, say=said.append)

    engine.clear_behaviours()
    still_there = backend.status()
    backend.down(volumes=False, say=said.append)

    assert len(still_there.of("api-gateway").replicas) == 2
    assert said[-1] == "Everything is stopped."
    assert (engine.ids(), state_dir.running.exists()) == ([], False)


def test_system_being_stopped_is_running_but_not_wanted(
    state_dir: StateDir,
) -> None:
    mark_started(state_dir)

    with state_dir.lock(STOPPING, within_s=0):
        during = (state_dir.is_wanted, state_dir.running.exists())

    assert during == (False, True)
    assert state_dir.is_wanted


def test_down_names_a_container_that_it_cannot_remove(
    backend: ComposeBackend, state_dir: StateDir, engine: FakeEngine
) -> None:
    engine.set_behaviour("compose down", does_nothing=True)

    with pytest.raises(BidkitError, match="redis could not be removed; `bidkit down` tries again"):
        backend.down(volumes=False, say=lambda _: None)

    assert state_dir.running.exists()


def test_down_fails_without_an_engine_even_if_nothing_runs(
    compose: ComposeBackend, engine: FakeEngine
) -> None:
    engine.set_behaviour("ps", error="Cannot connect to the Docker daemon at unix:///x.")

    with pytest.raises(MissingServer, match="no Docker engine answers"):
        compose.down(volumes=False, say=lambda _: None)


def test_containers_of_a_deleted_home_are_stopped_too(
    backend: ComposeBackend, state_dir: StateDir, engine: FakeEngine
) -> None:
    for file in state_dir.folder.iterdir():
        file.unlink()
    state_dir.folder.rmdir()
    engine.add_running(redis=1)

    backend.down(volumes=False, say=lambda _: None)

    assert engine.ids() == []


@pytest.fixture
def said(backend: ComposeBackend) -> list[str]:
    """The lines shown while it stops."""
    return []


@pytest.mark.parametrize("phase", ["compose stop", "compose down"])
@pytest.mark.parametrize("failures", [0, 1])
def test_second_interrupt_kills_draining_containers(
    said: list[str],
    state_dir: StateDir,
    stack: Stack,
    engine: FakeEngine,
    phase: str,
    failures: int,
) -> None:
    """A failed kill is retried."""
    token = Cancellation()
    token.request()
    engine.set_behaviour(phase, during=token.request, delay_s=60)
    engine.set_behaviour("compose kill", error="the engine is busy" * failures, times=failures)

    Shutdown(state_dir, stack).run_own(state_dir.begin_run(), said.append, token)

    assert said.count("hurrying: what has not ended yet is killed") == 1
    assert f"{phase} was hurried" in engine.calls
    assert {"api-gateway-1 is stopped", "redis is stopped"} <= set(said)
    assert (engine.ids(), state_dir.running.exists()) == ([], False)


def test_closed_terminal_does_not_hurry_even_if_it_sends_two_signals(
    said: list[str], state_dir: StateDir, stack: Stack, engine: FakeEngine
) -> None:
    token = Cancellation()
    for _ in range(2):
        token.request(signal.SIGHUP)

    Shutdown(state_dir, stack).run_own(state_dir.begin_run(), said.append, token)

    assert "compose kill" not in engine.calls
    assert engine.ids() == []
