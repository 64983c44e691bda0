"""A system in the foreground, which its terminal looks on and ends."""

import signal
import time

import pytest

from pkg.devkit.backend import Options
from pkg.devkit.compose import backend as compose_backend
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import BidkitError, PortTaken
from pkg.devkit.home import Home, save
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.system import Desired
from tests.integration.ports import free_ports
from tests.unit.devkit.compose.standin import (
    Engine,
    Onlooker,
    await_fact,
    interrupt,
    is_heeded,
    meanwhile,
)


@pytest.fixture
def backend(state_dir: StateDir, engine: Engine) -> ComposeBackend:
    """Nobody answers on the edge's ports here: no replica is asked for that it would lead to."""
    edge, api, broadcast = free_ports(3)
    desired = Desired(
        edge_port=edge,
        api_port=api,
        broadcast_port=broadcast,
        replicas={API: 0, BROADCAST: 0, ARCHIVAL: 1},
    )
    save(state_dir.desired, desired)
    return ComposeBackend(Home(state_dir.home))


def another(state_dir: StateDir) -> ComposeBackend:
    """Of another terminal, for the same home."""
    return ComposeBackend(Home(state_dir.home))


def test_a_foreground_outlives_an_engine_that_does_not_answer_for_a_while(
    backend: ComposeBackend, engine: Engine
) -> None:
    told = Onlooker()

    def trouble() -> None:
        told.await_line("compose is ready")
        engine.will("ps", says="error during connect: EOF")
        told.await_line("the engine does not answer: no Docker engine answers")
        engine.awaits_calls(3)
        engine.is_well()
        told.await_line("the engine answers again")
        interrupt()

    with meanwhile(trouble):
        backend.up(Options(), detach=False, watcher=told)

    complaints = [line for line in told.lines if "does not answer" in line]
    assert len(complaints) == 1
    assert told.lines[-1] == "Everything is stopped."
    assert engine.containers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_the_wait_for_another_up(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir, number: int
) -> None:
    def loses_patience() -> None:
        await_fact(lambda: is_heeded(number), seen=lambda: str(engine.calls))
        interrupt(number)

    with (
        state_dir.lock(within_s=0, busy="busy"),
        meanwhile(loses_patience),
        pytest.raises(KeyboardInterrupt),
    ):
        backend.up(Options(), detach=False, watcher=Onlooker())

    assert engine.containers() == []


@pytest.mark.parametrize("phase", ["compose build", "compose up"])
def test_an_interrupt_ends_what_compose_is_at_and_leaves_nothing(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir, phase: str
) -> None:
    engine.will(phase, lingers_s=60)
    told = Onlooker()

    def loses_patience() -> None:
        engine.awaits_call(f"{phase} lingers")
        interrupt()

    with meanwhile(loses_patience), pytest.raises(KeyboardInterrupt):
        backend.up(Options(), detach=False, watcher=told)

    assert f"{phase} was ended" in engine.calls
    assert (engine.containers(), state_dir.running.exists()) == ([], False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_of_what_is_not_yet_ready_is_told_from_the_end_of_what_was(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir, number: int
) -> None:
    engine.has_unready(ARCHIVAL)
    told = Onlooker()

    def loses_patience() -> None:
        engine.awaits_call(" up --detach")
        engine.awaits_calls(6)  # compose has come to its end by then
        interrupt(number)

    with meanwhile(loses_patience), pytest.raises(KeyboardInterrupt):
        backend.up(Options(), detach=False, watcher=told)

    assert told.lines[-1] == "Everything is stopped."
    assert (engine.containers(), state_dir.running.exists()) == ([], False)


@pytest.mark.parametrize("phase", ["compose build", "compose up"])
def test_a_down_ends_an_up_that_is_still_at_it(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir, phase: str
) -> None:
    engine.will(phase, lingers_s=60)

    def stop() -> None:
        engine.awaits_call(f"{phase} lingers")
        another(state_dir).down(volumes=False, say=lambda _: None)

    with meanwhile(stop), pytest.raises(BidkitError, match="the system was stopped meanwhile"):
        backend.up(Options(), detach=True, watcher=Onlooker())

    assert (engine.containers(), state_dir.running.exists()) == ([], False)


def test_a_foreground_leaves_a_system_alone_that_another_up_has_started_since(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, news = Onlooker(), Onlooker()
    monkeypatch.setattr(compose_backend, "_WATCH_EVERY_S", 3.0)  # it sleeps through it all

    def replaced() -> None:
        told.await_line("compose is ready")
        another(state_dir).down(volumes=False, say=lambda _: None)
        another(state_dir).up(Options(), detach=True, watcher=news)

    with meanwhile(replaced):
        backend.up(Options(), detach=False, watcher=told)

    assert news.lines[-1] == "compose is ready"
    assert told.lines[-1] == "another bidkit has stopped it."
    assert len(engine.ids(ARCHIVAL)) == 1
    assert state_dir.is_wanted


def test_an_interrupt_of_a_foreground_does_not_end_what_another_up_is_starting(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, news = Onlooker(), Onlooker()
    monkeypatch.setattr(compose_backend, "_WATCH_EVERY_S", 60.0)
    began: list[float] = []

    def replaced() -> None:
        told.await_line("compose is ready")
        another(state_dir).down(volumes=False, say=lambda _: None)
        engine.will("compose up", lingers_s=8)
        with meanwhile(loses_patience):
            another(state_dir).up(Options(), detach=True, watcher=news)

    def loses_patience() -> None:
        engine.awaits_call("compose up lingers")
        began.append(time.monotonic())
        interrupt()

    with meanwhile(replaced):
        backend.up(Options(), detach=False, watcher=told)
        took = time.monotonic() - began[0]

    assert news.lines[-1] == "compose is ready"
    assert "compose up was ended" not in engine.calls
    assert told.lines[-1] == "another bidkit has stopped it."
    assert took < 7  # it waits for nobody's start


def test_a_foreground_whose_system_is_being_stopped_elsewhere_ends_with_it(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir
) -> None:
    told = Onlooker()

    def stop() -> None:
        told.await_line("compose is ready")
        engine.will("compose stop", lingers_s=2)
        another(state_dir).down(volumes=False, say=lambda _: None)

    with meanwhile(stop):
        backend.up(Options(), detach=False, watcher=told)
        left = engine.containers()

    assert told.lines[-1] == "another bidkit has stopped it."
    assert left == []
    assert sum(" stop" in line for line in engine.calls if line.startswith("compose --")) == 1


def test_a_foreground_ends_its_system_itself_when_a_down_elsewhere_fails(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir
) -> None:
    told = Onlooker()

    def tries() -> None:
        told.await_line("compose is ready")
        engine.will("compose stop", says="it was broken off", lingers_s=2, times=1)
        with pytest.raises(BidkitError, match="broken off"):
            another(state_dir).down(volumes=False, say=lambda _: None)

    with meanwhile(tries):
        backend.up(Options(), detach=False, watcher=told)

    assert told.lines[-1] == "Everything is stopped."
    assert (engine.containers(), state_dir.running.exists()) == ([], False)


def test_a_foreground_that_lost_its_port_blames_nobody_else(
    backend: ComposeBackend, engine: Engine
) -> None:
    told = Onlooker()
    engine.will("compose up", half=True, says="bind: address already in use")

    with pytest.raises(PortTaken):
        backend.up(Options(), detach=False, watcher=told)

    assert not [line for line in told.lines if "stopped" in line]
    assert engine.containers() == []


@pytest.mark.parametrize("phase", ["compose stop", "compose down"])
def test_an_interrupt_ends_the_removal_of_what_an_earlier_run_had_left(
    backend: ComposeBackend, engine: Engine, phase: str
) -> None:
    engine.runs(redis=1)
    engine.will(phase, lingers_s=30)

    def loses_patience() -> None:
        engine.awaits_call(f"{phase} lingers")
        interrupt()

    with meanwhile(loses_patience), pytest.raises(KeyboardInterrupt):
        backend.up(Options(), detach=False, watcher=Onlooker())

    assert engine.calls[-1] == f"{phase} was ended"


def test_a_single_failure_of_the_engine_while_compose_is_at_it_ends_no_start(
    backend: ComposeBackend, engine: Engine
) -> None:
    told = Onlooker()
    engine.will("compose up", lingers_s=2)

    def trouble() -> None:
        engine.awaits_call("compose up lingers")
        engine.will("ps", says="Error response from daemon: not now", times=2)

    with meanwhile(trouble):
        backend.up(Options(), detach=True, watcher=told)

    assert told.lines[-1] == "compose is ready"


@pytest.mark.parametrize("complaint", ["error during connect: EOF", "Error: not now"])
def test_a_single_failure_of_the_engine_before_all_is_ready_ends_no_start(
    backend: ComposeBackend, engine: Engine, complaint: str
) -> None:
    told = Onlooker()
    engine.has_unready(ARCHIVAL)

    def trouble() -> None:
        engine.awaits_call(" up --detach")
        engine.awaits_calls(6)  # compose has come to its end by then
        engine.will("ps", says=complaint, times=2)
        engine.awaits_calls(6)
        engine.has_unready()

    with meanwhile(trouble):
        backend.up(Options(), detach=True, watcher=told)

    assert told.lines[-1] == "compose is ready"


def test_an_engine_that_fails_for_good_is_told_at_the_deadline(
    backend: ComposeBackend, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose_backend, "READY_WITHIN_S", 2.0)
    engine.has_unready(ARCHIVAL)

    def trouble() -> None:
        engine.awaits_call(" up --detach")
        engine.awaits_calls(6)
        engine.will("ps", says="Error: never again")

    with meanwhile(trouble), pytest.raises(BidkitError, match="never again"):
        backend.up(Options(), detach=True, watcher=Onlooker())
