"""`up` in the foreground."""

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
    concurrently,
    interrupt,
    is_handled,
)
from tests.unit.devkit.compose.fake_engine import FakeEngine


@pytest.fixture
def backend(
    state_dir: StateDir, compose: ComposeBackend, monkeypatch: pytest.MonkeyPatch
) -> ComposeBackend:
    """No replicas behind the edge, because nothing answers on its ports here."""
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
    """Another terminal's backend for the same home."""
    return ComposeBackend(Home(state_dir.home), engine)


def test_foreground_survives_an_engine_that_is_down_for_a_while(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    watcher = RecordingWatcher()
    fails = {"error": "error during connect: EOF", "times": 3}
    watcher.on_line("compose is ready", lambda: engine.set_behaviour("ps", **fails))
    watcher.on_line("the engine answers again", interrupt)

    backend.up(Options(), detach=False, watcher=watcher)

    complaints = [line for line in watcher.lines if "the engine does not answer: no Docker" in line]
    assert len(complaints) == 1
    assert watcher.lines[-1] == "Everything is stopped."
    assert engine.ids() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_ends_the_wait_for_another_up(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir, number: int
) -> None:
    def press_ctrl_c() -> None:
        await_fact(lambda: is_handled(number), seen=lambda: str(engine.calls))
        interrupt(number)

    with (
        state_dir.lock(within_s=0, busy="busy"),
        concurrently(press_ctrl_c),
        pytest.raises(KeyboardInterrupt),
    ):
        backend.up(Options(), detach=False, watcher=RecordingWatcher())

    assert engine.ids() == []


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("phase", ["compose build", "compose up"])
def test_interrupt_ends_the_compose_command_and_stops_a_foreground_system(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir, phase: str, *, detach: bool
) -> None:
    engine.set_behaviour(phase, during=interrupt)

    with pytest.raises(KeyboardInterrupt):
        backend.up(Options(), detach=detach, watcher=RecordingWatcher())

    assert f"{phase} was ended" in engine.calls
    keeps = detach and phase == "compose up"
    assert (bool(engine.ids()), state_dir.running.exists()) == (keeps, keeps)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_before_all_is_ready_stops_everything_and_is_raised(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir, number: int
) -> None:
    engine.unready = {ARCHIVAL}
    watcher = RecordingWatcher()
    watcher.on_line("status", lambda: interrupt(number), after_statuses=3)

    with pytest.raises(KeyboardInterrupt):
        backend.up(Options(), detach=False, watcher=watcher)

    assert watcher.lines[-1] == "Everything is stopped."
    assert (engine.ids(), state_dir.running.exists()) == ([], False)


@pytest.mark.parametrize("phase", ["compose build", "compose up"])
def test_down_ends_an_up_in_progress(
    backend: ComposeBackend,
    another: ComposeBackend,
    engine: FakeEngine,
    state_dir: StateDir,
    phase: str,
) -> None:
    engine.set_behaviour(phase, delay_s=60)

    def stop() -> None:
        engine.await_call(phase)
        another.down(volumes=False, say=lambda _: None)

    with concurrently(stop), pytest.raises(BidkitError, match="the system was stopped meanwhile"):
        backend.up(Options(), detach=True, watcher=RecordingWatcher())

    assert (engine.ids(), state_dir.running.exists()) == ([], False)


def test_foreground_leaves_alone_a_system_that_a_later_up_started(
    backend: ComposeBackend, another: ComposeBackend, engine: FakeEngine, state_dir: StateDir
) -> None:
    watcher, others = RecordingWatcher(), RecordingWatcher()

    def replace_system() -> None:
        another.down(volumes=False, say=lambda _: None)
        another.up(Options(), detach=True, watcher=others)

    watcher.on_line("compose is ready", replace_system)

    backend.up(Options(), detach=False, watcher=watcher)

    assert others.lines[-1] == "compose is ready"
    assert watcher.lines[-1] == "another bidkit has stopped it."
    assert len(engine.ids(ARCHIVAL)) == 1
    assert state_dir.is_wanted


def test_foreground_ends_when_another_down_stops_its_system(
    backend: ComposeBackend, another: ComposeBackend, engine: FakeEngine
) -> None:
    watcher = RecordingWatcher()

    def stop() -> None:
        watcher.await_line("compose is ready")
        engine.set_behaviour("compose stop", delay_s=1)
        another.down(volumes=False, say=lambda _: None)

    with concurrently(stop):
        backend.up(Options(), detach=False, watcher=watcher)
        left = engine.ids()

    assert watcher.lines[-1] == "another bidkit has stopped it."
    assert left == []
    assert engine.calls.count("compose stop") == 1


def test_foreground_whose_port_is_taken_does_not_blame_another_bidkit(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    watcher = RecordingWatcher()
    engine.set_behaviour("compose up", half=True, error="bind: address already in use")

    with pytest.raises(PortTaken):
        backend.up(Options(), detach=False, watcher=watcher)

    assert not [line for line in watcher.lines if "stopped" in line]
    assert engine.ids() == []


@pytest.mark.parametrize("phase", ["compose stop", "compose down"])
def test_interrupt_ends_the_removal_of_leftovers(
    backend: ComposeBackend, engine: FakeEngine, phase: str
) -> None:
    engine.add_running(redis=1)
    engine.set_behaviour(phase, during=interrupt)

    with pytest.raises(KeyboardInterrupt):
        backend.up(Options(), detach=False, watcher=RecordingWatcher())

    assert engine.calls[-1] == f"{phase} was ended"


def test_failed_query_while_compose_runs_does_not_fail_the_start(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    watcher = RecordingWatcher()
    fails = {"error": "Error response from daemon: not now", "times": 1}
    engine.set_behaviour("compose up", during=lambda: engine.set_behaviour("ps", **fails))

    backend.up(Options(), detach=True, watcher=watcher)

    assert watcher.lines[-1] == "compose is ready"


@pytest.mark.parametrize("complaint", ["error during connect: EOF", "Error: not now"])
def test_failed_query_before_all_is_ready_does_not_fail_the_start(
    backend: ComposeBackend, engine: FakeEngine, complaint: str
) -> None:
    watcher = RecordingWatcher()
    engine.unready = {ARCHIVAL}
    watcher.on_line(
        "status", lambda: engine.set_behaviour("ps", error=complaint, times=2), after_statuses=3
    )
    watcher.on_line("status", engine.unready.clear, after_statuses=5)

    backend.up(Options(), detach=True, watcher=watcher)

    assert watcher.lines[-1] == "compose is ready"


def test_engine_that_keeps_failing_is_reported_at_the_deadline(
    backend: ComposeBackend, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose_backend, "READY_WITHIN_S", 0.5)
    engine.unready = {ARCHIVAL}
    watcher = RecordingWatcher()
    watcher.on_line(
        "status", lambda: engine.set_behaviour("ps", error="Error: never again"), after_statuses=3
    )

    with pytest.raises(BidkitError, match="never again"):
        backend.up(Options(), detach=True, watcher=watcher)
