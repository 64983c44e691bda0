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
from tests.unit.devkit.compose.doubles import RecordingWatcher, was_started
from tests.unit.devkit.compose.fake_engine import FakeEngine

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def backend(state_dir: StateDir, engine: FakeEngine, compose: ComposeBackend) -> ComposeBackend:
    """With two workers, to which no edge leads."""
    was_started(state_dir)
    Stack(state_dir).remember(Desired(replicas={API: 0, BROADCAST: 0, ARCHIVAL: 2}))
    engine.runs(archival_worker=2)
    return compose


@pytest.fixture
def gateways(state_dir: StateDir, engine: FakeEngine, stack: Stack) -> Fleet:
    """A gateway, `id1`, behind an edge, `id2`."""
    was_started(state_dir)
    stack.remember(Desired())
    engine.runs(api_gateway=1, edge=1)
    return Fleet(API, project=stack.project, state_dir=state_dir, check=no_check)


def on(text: str, does: Callable[[], object]) -> Callable[[str], None]:
    """A `say` that does something at a line with this text."""
    return lambda line: does() if text in line else None  # type: ignore[return-value]


def raised(number: int) -> Callable[[], object]:
    return lambda: os.kill(os.getpid(), number)


def desired(state_dir: StateDir) -> int:
    return Stack(state_dir).desired.replicas[ARCHIVAL]


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupted_restart_is_rolled_back(
    backend: ComposeBackend, engine: FakeEngine, number: int
) -> None:
    old = engine.ids()

    with pytest.raises(KeyboardInterrupt):
        backend.restart(ARCHIVAL, say=on("starts in place of", raised(number)))

    assert engine.ids() == old


def test_a_restart_whose_compose_command_fails_is_rolled_back(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    old = engine.ids()
    engine.will("compose up", half=True, says="it was broken off")

    with pytest.raises(ComposeFailed, match="broken off"):
        backend.restart(ARCHIVAL, say=lambda _: None)

    assert engine.ids() == old


def test_a_restart_whose_output_is_closed_is_rolled_back(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    def gone() -> None:
        raise ReaderGone

    old = engine.ids()

    with pytest.raises(ReaderGone):
        backend.restart(ARCHIVAL, say=on("starts in place of", gone))

    assert engine.ids() == old


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_restart_ends_with_the_desired_number_whatever_ran_before(
    backend: ComposeBackend, engine: FakeEngine, left: int
) -> None:
    engine.runs(archival_worker=left)

    backend.restart(ARCHIVAL, say=lambda _: None)

    assert len(engine.ids()) == 2


def test_an_unready_surplus_replica_goes_first(backend: ComposeBackend, engine: FakeEngine) -> None:
    said: list[str] = []
    engine.has_stopped(engine.ids()[0])
    engine.runs(archival_worker=1)

    backend.restart(ARCHIVAL, say=said.append)

    assert said[0] == "archival-worker-1 is one too many and stops"


def test_an_interrupted_scale_stays_desired_and_the_next_call_gets_there(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir
) -> None:
    engine.unready = {"id3", "id4"}
    engine.will("compose up", does=raised(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        backend.scale({ARCHIVAL: 4}, say=lambda _: None)
    interrupted = (len(engine.ids()), desired(state_dir))

    engine.unready = set()
    engine.is_well()
    backend.scale({ARCHIVAL: 3}, say=lambda _: None)

    assert interrupted == (4, 4)
    assert (len(engine.ids()), desired(state_dir)) == (3, 3)


def test_up_finishes_a_scale_down_that_was_interrupted(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir
) -> None:
    with pytest.raises(KeyboardInterrupt):
        backend.scale({ARCHIVAL: 1}, say=on("one too many", raised(signal.SIGINT)))
    interrupted = (len(engine.ids(ARCHIVAL)), desired(state_dir))

    backend.up(Options(), detach=True, watcher=RecordingWatcher())

    assert interrupted == (2, 1)
    assert len(engine.ids(ARCHIVAL)) == 1


@pytest.mark.parametrize("verb", ["up", "down"])
def test_an_interrupt_wins_over_an_engine_that_hangs(
    backend: ComposeBackend, engine: FakeEngine, verb: str
) -> None:
    engine.will("ps", does=raised(signal.SIGINT), says="Cannot connect to the Docker daemon")

    def act() -> None:
        if verb == "up":
            backend.up(Options(), detach=True, watcher=RecordingWatcher())
        else:
            backend.down(volumes=False, say=lambda _: None)

    with pytest.raises(KeyboardInterrupt):
        act()


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupted_compose_command_is_ended_and_a_restart_rolled_back(
    backend: ComposeBackend, engine: FakeEngine, number: int
) -> None:
    old = engine.ids()
    engine.will("compose up", does=raised(number))

    with pytest.raises(KeyboardInterrupt):
        backend.restart(ARCHIVAL, say=lambda _: None)

    assert "compose up was ended" in engine.calls
    assert engine.ids() == old


def test_an_interrupt_ends_a_restart_of_a_store(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    engine.runs(redis=1)
    engine.will("compose restart", does=raised(signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        backend.restart("redis", say=lambda _: None)

    assert engine.calls[-1] == "compose restart was ended"


def test_the_log_of_a_replica_scaled_away_is_kept_to_its_end(
    backend: ComposeBackend, engine: FakeEngine, state_dir: StateDir
) -> None:
    said: list[str] = []
    engine.runs(archival_worker=1)

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


def test_replicas_that_are_scaled_away_drain_at_the_same_time(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    backend.scale({ARCHIVAL: 0}, say=lambda _: None)

    assert [line for line in engine.calls if " stop " in line] == ["container stop id1 id2"]


def test_replicas_are_scaled_away_although_the_output_is_closed(
    backend: ComposeBackend, engine: FakeEngine
) -> None:
    def gone() -> None:
        raise ReaderGone

    backend.scale({ARCHIVAL: 1}, say=on("one too many", gone))

    assert engine.ids() == ["id1"]


@pytest.fixture
def unreached(backend: ComposeBackend, state_dir: StateDir) -> ComposeBackend:
    """Gateways are desired, but no port of the edge answers."""
    edge_port, api, broadcast = free_ports(3)
    wanted = Desired(edge_port=edge_port, api_port=api, broadcast_port=broadcast)
    Stack(state_dir).remember(wanted)
    return backend


@pytest.mark.parametrize("verb", ["scale", "restart"])
def test_services_that_were_not_touched_are_not_waited_for(
    unreached: ComposeBackend, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.1)

    if verb == "scale":
        unreached.scale({ARCHIVAL: 1}, say=lambda _: None)
    else:
        unreached.restart(ARCHIVAL, say=lambda _: None)


@pytest.mark.parametrize("touched", ["edge", "redis"])
def test_restarting_the_edge_or_a_store_waits_for_the_services_reached_before(
    unreached: ComposeBackend, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, touched: str
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.1)
    engine.runs(**{touched: 1})
    unreached.restart(touched, say=lambda _: None)
    engine.runs(api_gateway=1)

    with pytest.raises(NotReady, match="does not route to api-gateway"):
        unreached.restart(touched, say=lambda _: None)


def test_a_replica_stays_until_the_edge_has_found_its_successor(
    gateways: Fleet, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.5)
    engine.unseen = {"id3"}

    with pytest.raises(NotReady, match=r"has not found api-gateway-2 in .* requests to 10.0.0.1"):
        gateways.restart(1, say=lambda _: None)

    assert engine.ids(API) == ["id1"]


def test_an_edge_that_does_not_answer_for_a_moment_is_asked_again(
    gateways: Fleet, engine: FakeEngine
) -> None:
    engine.will("exec", says="Error: the container is restarting", times=2)

    gateways.restart(1, say=lambda _: None)

    assert engine.ids(API) == ["id3"]


@pytest.mark.parametrize(
    ("order", "trouble"),
    [
        ({"says": "Error: the container is restarting"}, "the container is restarting"),
        ({"does_nothing": True}, "its statistics do not answer"),
    ],
)
def test_an_edge_that_does_not_answer_is_not_blamed_on_the_successor(
    gateways: Fleet,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    order: dict[str, object],
    trouble: str,
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.5)
    engine.will("exec", **order)

    with pytest.raises(NotReady, match=f"the edge cannot be asked .*-2: .*{trouble}. `bidkit logs"):
        gateways.restart(1, say=lambda _: None)

    assert engine.ids(API) == ["id1"]


def test_a_replica_goes_once_the_edge_has_found_its_successor(
    gateways: Fleet, engine: FakeEngine
) -> None:
    gateways.restart(1, say=lambda _: None)

    asked = [n for n, line in enumerate(engine.calls) if line.startswith("exec id2")]
    (ended,) = (n for n, line in enumerate(engine.calls) if "stop id1" in line)
    assert asked[0] < ended
    assert engine.ids(API) == ["id3"]


def test_without_an_edge_a_restart_does_not_wait_for_it(
    gateways: Fleet, engine: FakeEngine
) -> None:
    engine.has_stopped("id2")

    gateways.restart(1, say=lambda _: None)

    assert engine.ids(API) == ["id3"]
