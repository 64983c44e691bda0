"""`up` in the foreground, and what ends it."""

import signal

import pytest

from pkg.devkit.backend import Options
from pkg.devkit.compose import backend as compose_backend
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import BidkitError, PortTaken
from pkg.devkit.home import Home, save
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.ports import free_ports
from pkg.devkit.system import Desired
from tests.unit.devkit.compose.doubles import (
    RecordingWatcher,
    await_fact,
    interrupt,
    is_handled,
    meanwhile,
)
from tests.unit.devkit.compose.fake_engine import FakeEngine


@pytest.fixture
def backend(
    state_dir: StateDir, compose: ComposeBackend, monkeypatch: pytest.MonkeyPatch
) -> ComposeBackend:
    """Without replicas behind the edge, as nothing answers on its ports here."""
    edge, api, broadcast = free_ports(3)
    desired = Desired(
        edge_port=edge,
        api_port=api,
        broadcast_port=broadcast,
        replicas={API: 0, BROADCAST: 0, ARCHIVAL: 1},
    )
    save(state_dir.desired, desired)
    monkeypatch.setattr(compose_backend, "_WATCH_EVERY_S", 0.05)
    monkeypatch.setattr(compose_backend, "CHECK_EVERY_S", 0.05)
    return compose


@pytest.fixture
def another(state_dir: StateDir, engine: FakeEngine) -> ComposeBackend:
    """That of another terminal, for the same home."""
    return ComposeBackend(Home(state_dir.home), engine)


def test_a_foreground_outlives_an_engine_that_does_not_answer_for_a_while(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    watcher = RecordingWatcher()
    fails = {"says": "error during connect: EOF", "times": 3}
    watcher.when("compose is ready", lambda: engine.will("ps", **fails))
    watcher.when("the engine answers again", interrupt)

    backend.up(Options(), detach=False, watcher=watcher)

    complaints = [line for line in watcher.lines if "the engine does not answer: no Docker" in line]
    assert len(complaints) == 1
    assert watcher.lines[-1] == "Everything is stopped."
    assert engine.ids() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_the_wait_for_another_up(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir, number: int
) -> None:
    def loses_patience() -> None:
        await_fact(lambda: is_handled(number), seen=lambda: str(engine.calls))
        interrupt(number)

    with (
        state_dir.lock(within_s=0, busy="busy"),
        meanwhile(loses_patience),
        pytest.raises(KeyboardInterrupt),
    ):
        backend.up(Options(), detach=False, watcher=RecordingWatcher())

    assert engine.ids() == []


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("phase", ["compose build", "compose up"])
def test_an_interrupt_ends_the_compose_command_and_a_foreground_leaves_nothing(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir, phase: str, *, detach: bool
) -> None:
    engine.will(phase, does=interrupt)

    with pytest.raises(KeyboardInterrupt):
        backend.up(Options(), detach=detach, watcher=RecordingWatcher())

    assert f"{phase} was ended" in engine.calls
    keeps = detach and phase == "compose up"
    assert (bool(engine.ids()), state_dir.running.exists()) == (keeps, keeps)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_before_all_is_ready_stops_everything_and_is_raised(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir, number: int
) -> None:
    engine.unready = {ARCHIVAL}
    watcher = RecordingWatcher()
    watcher.when("status", lambda: interrupt(number), shown=3)

    with pytest.raises(KeyboardInterrupt):
        backend.up(Options(), detach=False, watcher=watcher)

    assert watcher.lines[-1] == "Everything is stopped."
    assert (engine.ids(), state_dir.running.exists()) == ([], False)


@pytest.mark.parametrize("phase", ["compose build", "compose up"])
def test_a_down_ends_an_up_that_is_still_at_it(
    backend: ComposeBackend,
    another: ComposeBackend,
    engine: FakeEngine,
    state_dir: StateDir,
    phase: str,
) -> None:
    engine.will(phase, lingers_s=60)

    def stop() -> None:
        engine.await_call(phase)
        another.down(volumes=False, say=lambda _: None)

    with meanwhile(stop), pytest.raises(BidkitError, match="the system was stopped meanwhile"):
        backend.up(Options(), detach=True, watcher=RecordingWatcher())

    assert (engine.ids(), state_dir.running.exists()) == ([], False)


def test_a_foreground_leaves_a_system_alone_that_another_up_has_started_since(
    backend: ComposeBackend, another: ComposeBackend, engine: FakeEngine, state_dir: StateDir
) -> None:
    watcher, others = RecordingWatcher(), RecordingWatcher()

    def replaced() -> None:
        another.down(volumes=False, say=lambda _: None)
        another.up(Options(), detach=True, watcher=others)

    watcher.when("compose is ready", replaced)

    backend.up(Options(), detach=False, watcher=watcher)

    assert others.lines[-1] == "compose is ready"
    assert watcher.lines[-1] == "another bidkit has stopped it."
    assert len(engine.ids(ARCHIVAL)) == 1
    assert state_dir.is_wanted


def test_a_foreground_whose_system_is_being_stopped_elsewhere_ends_with_it(
    backend: ComposeBackend, another: ComposeBackend, engine: FakeEngine
) -> None:
    watcher = RecordingWatcher()

    def stop() -> None:
        watcher.await_line("compose is ready")
        engine.will("compose stop", lingers_s=1)
        another.down(volumes=False, say=lambda _: None)

    with meanwhile(stop):
        backend.up(Options(), detach=False, watcher=watcher)
        left = engine.ids()

    assert watcher.lines[-1] == "another bidkit has stopped it."
    assert left == []
    assert engine.calls.count("compose stop") == 1


def test_a_foreground_whose_port_is_taken_does_not_blame_another_bidkit(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    watcher = RecordingWatcher()
    engine.will("compose up", half=True, says="bind: address already in use")

    with pytest.raises(PortTaken):
        backend.up(Options(), detach=False, watcher=watcher)

    assert not [line for line in watcher.lines if "stopped" in line]
    assert engine.ids() == []


@pytest.mark.parametrize("phase", ["compose stop", "compose down"])
def test_an_interrupt_ends_the_removal_of_leftovers(
    backend: ComposeBackend, engine: FakeEngine, phase: str
) -> None:
    engine.runs(redis=1)
    engine.will(phase, does=interrupt)

    with pytest.raises(KeyboardInterrupt):
        backend.up(Options(), detach=False, watcher=RecordingWatcher())

    assert engine.calls[-1] == f"{phase} was ended"


def test_a_failed_query_while_compose_is_busy_does_not_end_a_start(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    watcher = RecordingWatcher()
    fails = {"says": "Error response from daemon: not now", "times": 1}
    engine.will("compose up", does=lambda: engine.will("ps", **fails))

    backend.up(Options(), detach=True, watcher=watcher)

    assert watcher.lines[-1] == "compose is ready"


@pytest.mark.parametrize("complaint", ["error during connect: EOF", "Error: not now"])
def test_a_failed_query_before_all_is_ready_does_not_end_a_start(
    backend: ComposeBackend, engine: FakeEngine, complaint: str
) -> None:
    watcher = RecordingWatcher()
    engine.unready = {ARCHIVAL}
    watcher.when("status", lambda: engine.will("ps", says=complaint, times=2), shown=3)
    watcher.when("status", engine.unready.clear, shown=5)

    backend.up(Options(), detach=True, watcher=watcher)

    assert watcher.lines[-1] == "compose is ready"


def test_an_engine_that_fails_for_good_is_reported_at_the_deadline(
    backend: ComposeBackend, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose_backend, "READY_WITHIN_S", 0.5)
    engine.unready = {ARCHIVAL}
    watcher = RecordingWatcher()
    watcher.when("status", lambda: engine.will("ps", says="Error: never again"), shown=3)

    with pytest.raises(BidkitError, match="never again"):
        backend.up(Options(), detach=True, watcher=watcher)
