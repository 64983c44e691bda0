"""Scaling and rolling restarts."""

import os
import signal
from collections.abc import Callable

import pytest

from pkg.devkit.backend import Options
from pkg.devkit.compose import edge
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.command import ComposeFailed
from pkg.devkit.compose.fleet import Fleet
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import NotReady
from pkg.devkit.home import Home
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.ports import free_ports
from pkg.devkit.signals import no_check
from pkg.devkit.system import Desired
from pkg.devkit.views import ReaderGone
from tests.unit.devkit.compose.doubles import RecordingWatcher, mark_started
from tests.unit.devkit.compose.fake_engine import FakeEngine

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def backend(state_dir: StateDir, engine: FakeEngine, compose: ComposeBackend) -> ComposeBackend:
    """Two archival workers, and no service behind the edge."""
    mark_started(state_dir)
    Stack(state_dir).remember(Desired(replicas={API: 0, BROADCAST: 0, ARCHIVAL: 2}))
    engine.add_running(archival_worker=2)
    return compose


@pytest.fixture
def gateways(state_dir: StateDir, engine: FakeEngine, stack: Stack) -> Fleet:
    """One gateway, `id1`, behind the edge, `id2`."""
    mark_started(state_dir)
    stack.remember(Desired())
    engine.add_running(api_gateway=1, edge=1)
    return Fleet(API, project=stack.project, state_dir=state_dir, check=no_check)


def on_line(text: str, action: Callable[[], object]) -> Callable[[str], None]:
    """A `say` that calls the action at a line with this text."""
    return lambda line: action() if text in line else None  # type: ignore[return-value]


def send_signal(number: int) -> Callable[[], object]:
    return lambda: os.kill(os.getpid(), number)


def desired(state_dir: StateDir) -> int:
    return Stack(state_dir).desired.replicas[ARCHIVAL]


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_restart_is_rolled_back(
    backend: ComposeBackend, engine: FakeEngine, number: int
) -> None:
    old = engine.ids()

    with pytest.raises(KeyboardInterrupt):
        backend.restart(ARCHIVAL, say=on_line("starts in place of", send_signal(number)))

    assert engine.ids() == old


def test_restart_whose_compose_command_fails_is_rolled_back(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    old = engine.ids()
    engine.set_behaviour("compose up", half=True, error="it was broken off")

    with pytest.raises(ComposeFailed, match="broken off"):
        backend.restart(ARCHIVAL, say=lambda _: None)

    assert engine.ids() == old


def test_restart_whose_output_is_closed_is_rolled_back(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    def gone() -> None:
        raise ReaderGone

    old = engine.ids()

    with pytest.raises(ReaderGone):
        backend.restart(ARCHIVAL, say=on_line("starts in place of", gone))

    assert engine.ids() == old


@pytest.mark.parametrize("left", [0, 1, 2])
def test_restart_removes_surplus_replicas(
    backend: ComposeBackend, engine: FakeEngine, left: int
) -> None:
    engine.add_running(archival_worker=left)

    backend.restart(ARCHIVAL, say=lambda _: None)

    assert len(engine.ids()) == 2


def test_unready_surplus_replica_is_removed_first(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    said: list[str] = []
    engine.mark_stopped(engine.ids()[0])
    engine.add_running(archival_worker=1)

    backend.restart(ARCHIVAL, say=said.append)

    assert said[0] == "archival-worker-1 is one too many and stops"


def test_interrupted_scale_stays_desired_and_the_next_call_completes(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir
) -> None:
    engine.unready = {"id3", "id4"}
    engine.set_behaviour("compose up", during=send_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        backend.scale({ARCHIVAL: 4}, say=lambda _: None)
    interrupted = (len(engine.ids()), desired(state_dir))

    engine.unready = set()
    engine.clear_behaviours()
    backend.scale({ARCHIVAL: 3}, say=lambda _: None)

    assert interrupted == (4, 4)
    assert (len(engine.ids()), desired(state_dir)) == (3, 3)


def test_up_finishes_a_scale_down_that_was_interrupted(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir
) -> None:
    with pytest.raises(KeyboardInterrupt):
        backend.scale({ARCHIVAL: 1}, say=on_line("one too many", send_signal(signal.SIGINT)))
    interrupted = (len(engine.ids(ARCHIVAL)), desired(state_dir))

    backend.up(Options(), detach=True, watcher=RecordingWatcher())

    assert interrupted == (2, 1)
    assert len(engine.ids(ARCHIVAL)) == 1


@pytest.mark.parametrize("verb", ["up", "down"])
def test_an_interrupt_wins_over_an_engine_that_hangs(
    backend: ComposeBackend, engine: FakeEngine, verb: str
) -> None:
    engine.set_behaviour(
        "ps", during=send_signal(signal.SIGINT), error="Cannot connect to the Docker daemon"
    )

    def act() -> None:
        if verb == "up":
            backend.up(Options(), detach=True, watcher=RecordingWatcher())
        else:
            backend.down(volumes=False, say=lambda _: None)

    with pytest.raises(KeyboardInterrupt):
        act()


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupt_ends_the_compose_command_and_rolls_the_restart_back(
    backend: ComposeBackend, engine: FakeEngine, number: int
) -> None:
    old = engine.ids()
    engine.set_behaviour("compose up", during=send_signal(number))

    with pytest.raises(KeyboardInterrupt):
        backend.restart(ARCHIVAL, say=lambda _: None)

    assert "compose up was ended" in engine.calls
    assert engine.ids() == old


def test_interrupt_ends_a_restart_of_a_store(backend: ComposeBackend, engine: FakeEngine) -> None:
    engine.add_running(redis=1)
    engine.set_behaviour("compose restart", during=send_signal(signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        backend.restart("redis", say=lambda _: None)

    assert engine.calls[-1] == "compose restart was ended"


def test_log_of_a_removed_replica_is_kept_in_full(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir
) -> None:
    said: list[str] = []
    engine.add_running(archival_worker=1)

    backend.scale({ARCHIVAL: 1}, say=said.append)

    assert engine.ids() == ["id1"]
    for number in (2, 3):
        kept = Home(state_dir.home).log(f"archival-worker-{number}").read_text()
        assert kept == f"what id{number} had to say\nthe last words of id{number}\n"
    assert said == [
        "archival-worker-3 is one too many and stops",
        "archival-worker-2 is one too many and stops",
        "archival-worker has 1 ready",
    ]


def test_removed_replicas_drain_at_the_same_time(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    backend.scale({ARCHIVAL: 0}, say=lambda _: None)

    assert [line for line in engine.calls if " stop " in line] == ["container stop id1 id2"]


def test_scale_down_completes_with_a_closed_output(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    def gone() -> None:
        raise ReaderGone

    backend.scale({ARCHIVAL: 1}, say=on_line("one too many", gone))

    assert engine.ids() == ["id1"]


@pytest.fixture
def unreachable(backend: ComposeBackend, state_dir: StateDir) -> ComposeBackend:
    """Gateways are desired, but the edge's ports do not answer."""
    edge_port, api, broadcast = free_ports(3)
    wanted = Desired(edge_port=edge_port, api_port=api, broadcast_port=broadcast)
    Stack(state_dir).remember(wanted)
    return backend


@pytest.mark.parametrize("verb", ["scale", "restart"])
def test_services_that_did_not_change_are_not_waited_for(
    unreachable: ComposeBackend, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.1)

    if verb == "scale":
        unreachable.scale({ARCHIVAL: 1}, say=lambda _: None)
    else:
        unreachable.restart(ARCHIVAL, say=lambda _: None)


@pytest.mark.parametrize("touched", ["edge", "redis"])
def test_restart_of_the_edge_or_a_store_waits_for_services_with_replicas(
    unreachable: ComposeBackend, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, touched: str
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.1)
    engine.add_running(**{touched: 1})
    unreachable.restart(touched, say=lambda _: None)
    engine.add_running(api_gateway=1)

    with pytest.raises(NotReady, match="does not route to api-gateway"):
        unreachable.restart(touched, say=lambda _: None)


def test_replica_is_kept_if_the_edge_does_not_find_its_replacement(
    gateways: Fleet, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.5)
    engine.unseen_by_edge = {"id3"}

    with pytest.raises(NotReady, match=r"has not found api-gateway-2 in .* requests to 10.0.0.1"):
        gateways.restart(1, say=lambda _: None)

    assert engine.ids(API) == ["id1"]


def test_edge_that_does_not_answer_is_asked_again(gateways: Fleet, engine: FakeEngine) -> None:
    engine.set_behaviour("exec", error="Error: the container is restarting", times=2)

    gateways.restart(1, say=lambda _: None)

    assert engine.ids(API) == ["id3"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"error": "Error: the container is restarting"}, "the container is restarting"),
        ({"does_nothing": True}, "its statistics do not answer"),
    ],
)
def test_error_for_a_silent_edge_does_not_blame_the_replacement(
    gateways: Fleet,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: dict[str, object],
    reason: str,
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.5)
    engine.set_behaviour("exec", **behaviour)

    with pytest.raises(NotReady, match=f"the edge cannot be asked .*-2: .*{reason}. `bidkit logs"):
        gateways.restart(1, say=lambda _: None)

    assert engine.ids(API) == ["id1"]


def test_replica_is_stopped_after_the_edge_has_found_its_replacement(
    gateways: Fleet, engine: FakeEngine
) -> None:
    gateways.restart(1, say=lambda _: None)

    asked = [n for n, line in enumerate(engine.calls) if line.startswith("exec id2")]
    (ended,) = (n for n, line in enumerate(engine.calls) if "stop id1" in line)
    assert asked[0] < ended
    assert engine.ids(API) == ["id3"]


def test_restart_does_not_wait_for_a_stopped_edge(gateways: Fleet, engine: FakeEngine) -> None:
    engine.mark_stopped("id2")

    gateways.restart(1, say=lambda _: None)

    assert engine.ids(API) == ["id3"]
