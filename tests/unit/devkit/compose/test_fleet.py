"""Replicas scaled and replaced, on an engine that is a file."""

import os
import signal
from collections.abc import Callable

import pytest

from pkg.devkit.compose import edge
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.command import ComposeFailed
from pkg.devkit.compose.fleet import Fleet
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import NotReady
from pkg.devkit.home import Home
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.signals import Interrupt
from pkg.devkit.system import Desired
from pkg.devkit.views import ReaderGone
from tests.integration.ports import free_ports
from tests.unit.devkit.compose.standin import Engine, was_started

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def backend(state_dir: StateDir, engine: Engine) -> ComposeBackend:
    """With two workers, which no edge leads to."""
    was_started(state_dir)
    Stack(state_dir).remember(Desired(replicas={API: 0, BROADCAST: 0, ARCHIVAL: 2}))
    engine.runs(archival_worker=2)
    return ComposeBackend(Home(state_dir.home))


@pytest.fixture
def gateways(state_dir: StateDir, engine: Engine) -> Fleet:
    """Behind an edge: `id1`, and `id2` the edge."""
    was_started(state_dir)
    Stack(state_dir).remember(Desired())
    engine.runs(api_gateway=1, edge=1)
    return Fleet(API, project=Stack(state_dir).project, state_dir=state_dir, interrupt=Interrupt())


def on(text: str, does: Callable[[], object]) -> Callable[[str], None]:
    """Says nothing, and does something when a line with this text would be said."""
    return lambda line: does() if text in line else None  # type: ignore[return-value]


def raised(number: int) -> Callable[[], object]:
    return lambda: os.kill(os.getpid(), number)


def desired(state_dir: StateDir) -> int:
    return Stack(state_dir).desired.replicas[ARCHIVAL]


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupted_restart_takes_back_what_it_added(
    backend: ComposeBackend, engine: Engine, number: int
) -> None:
    old = engine.ids()

    with pytest.raises(KeyboardInterrupt):
        backend.restart(ARCHIVAL, say=on("starts in place of", raised(number)))

    assert engine.ids() == old


def test_a_restart_whose_compose_fails_takes_back_what_was_added_until_then(
    backend: ComposeBackend, engine: Engine
) -> None:
    old = engine.ids()
    engine.will("compose up", half=True, says="it was broken off")

    with pytest.raises(ComposeFailed, match="broken off"):
        backend.restart(ARCHIVAL, say=lambda _: None)

    assert engine.ids() == old


def test_a_restart_whose_reader_is_gone_takes_back_what_it_added(
    backend: ComposeBackend, engine: Engine
) -> None:
    def gone() -> None:
        raise ReaderGone

    old = engine.ids()

    with pytest.raises(ReaderGone):
        backend.restart(ARCHIVAL, say=on("starts in place of", gone))

    assert engine.ids() == old


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_restart_ends_with_the_desired_number_whatever_was_left(
    backend: ComposeBackend, engine: Engine, left: int
) -> None:
    engine.runs(archival_worker=left)

    backend.restart(ARCHIVAL, say=lambda _: None)

    assert len(engine.ids()) == 2


def test_of_what_was_left_the_unready_goes_first(backend: ComposeBackend, engine: Engine) -> None:
    said: list[str] = []
    engine.has_stopped(engine.ids()[0])
    engine.runs(archival_worker=1)

    backend.restart(ARCHIVAL, say=said.append)

    assert said[0] == "archival-worker-1 is one too many and stops"


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupted_scale_takes_back_what_it_added_and_forgets_it(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir, number: int
) -> None:
    old = engine.ids()
    engine.has_unready("id3", "id4")
    engine.will("compose up", signals=(os.getpid(), number))

    with pytest.raises(KeyboardInterrupt):
        backend.scale({ARCHIVAL: 4}, say=lambda _: None)

    assert (engine.ids(), desired(state_dir)) == (old, 2)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    "verb",
    [
        lambda backend: backend.scale({ARCHIVAL: 3}, say=lambda _: None),
        lambda backend: backend.restart(ARCHIVAL, say=lambda _: None),
    ],
    ids=["scale", "restart"],
)
def test_an_interrupt_ends_what_compose_is_at_and_what_it_added_goes(
    backend: ComposeBackend,
    engine: Engine,
    verb: Callable[[ComposeBackend], None],
    number: int,
) -> None:
    old = engine.ids()
    engine.will("compose up", signals=(os.getpid(), number), lingers_s=30)

    with pytest.raises(KeyboardInterrupt):
        verb(backend)

    assert "compose up was ended" in engine.calls
    assert engine.ids() == old


def test_an_interrupt_ends_a_restart_of_a_store(backend: ComposeBackend, engine: Engine) -> None:
    engine.runs(redis=1)
    engine.will("compose restart", signals=(os.getpid(), signal.SIGINT), lingers_s=30)

    with pytest.raises(KeyboardInterrupt):
        backend.restart("redis", say=lambda _: None)

    assert engine.calls[-1] == "compose restart was ended"


def test_what_a_replica_that_is_scaled_away_said_to_its_end_is_in_a_file(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir
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
    backend: ComposeBackend, engine: Engine
) -> None:
    backend.scale({ARCHIVAL: 0}, say=lambda _: None)

    assert [line for line in engine.calls if " stop " in line] == ["container stop id1 id2"]


def test_replicas_are_scaled_away_though_nobody_reads_any_more(
    backend: ComposeBackend, engine: Engine
) -> None:
    def gone() -> None:
        raise ReaderGone

    backend.scale({ARCHIVAL: 1}, say=on("one too many", gone))

    assert engine.ids() == ["id1"]


@pytest.mark.parametrize("phase", ["container stop", "container rm"])
def test_a_scale_down_that_is_interrupted_when_one_is_ending_stays_what_is_wanted(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir, phase: str
) -> None:
    engine.will(phase, signals=(os.getpid(), signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        backend.scale({ARCHIVAL: 1}, say=lambda _: None)

    assert (len(engine.ids()), desired(state_dir)) == (1, 1)


def test_a_scale_down_that_is_interrupted_before_one_is_gone_is_forgotten(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir
) -> None:
    old = engine.ids()

    with pytest.raises(KeyboardInterrupt):
        backend.scale({ARCHIVAL: 1}, say=on("one too many", raised(signal.SIGINT)))

    assert (engine.ids(), desired(state_dir)) == (old, 2)


def test_an_interrupted_scale_is_forgotten_also_when_nothing_can_be_taken_back(
    backend: ComposeBackend, engine: Engine, state_dir: StateDir
) -> None:
    engine.will("compose up", signals=(os.getpid(), signal.SIGINT), lingers_s=30)
    engine.will("container stop", says="it was broken off")

    with pytest.raises(ComposeFailed, match="broken off"):
        backend.scale({ARCHIVAL: 3}, say=lambda _: None)

    assert desired(state_dir) == 2


@pytest.fixture
def unreached(backend: ComposeBackend, state_dir: StateDir) -> ComposeBackend:
    """Gateways that are wanted, and that the edge reaches by no port."""
    edge_port, api, broadcast = free_ports(3)
    wanted = Desired(edge_port=edge_port, api_port=api, broadcast_port=broadcast)
    Stack(state_dir).remember(wanted)
    return backend


@pytest.mark.parametrize("verb", ["scale", "restart"])
def test_what_was_not_touched_is_not_waited_for(
    unreached: ComposeBackend, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.1)

    if verb == "scale":
        unreached.scale({ARCHIVAL: 1}, say=lambda _: None)
    else:
        unreached.restart(ARCHIVAL, say=lambda _: None)


@pytest.mark.parametrize("touched", ["edge", "redis"])
def test_what_was_reached_before_is_waited_for_when_the_edge_or_a_store_restarts(
    unreached: ComposeBackend, engine: Engine, monkeypatch: pytest.MonkeyPatch, touched: str
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.1)
    engine.runs(**{touched: 1})
    unreached.restart(touched, say=lambda _: None)
    engine.runs(api_gateway=1)

    with pytest.raises(NotReady, match="does not pass api-gateway on"):
        unreached.restart(touched, say=lambda _: None)


def test_a_replica_stays_while_the_edge_has_not_found_its_heir(
    gateways: Fleet, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.5)
    engine.edge_does_not_see("id3")

    with pytest.raises(NotReady, match=r"has not found api-gateway-2 in .* requests to 10.0.0.1"):
        gateways.restart(1, say=lambda _: None)

    assert engine.ids(API) == ["id1"]


def test_an_edge_that_cannot_be_asked_for_a_moment_is_asked_again(
    gateways: Fleet, engine: Engine
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
def test_an_edge_that_can_never_be_asked_is_no_fault_of_the_heir(
    gateways: Fleet,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    order: dict[str, object],
    trouble: str,
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.5)
    engine.will("exec", **order)

    with pytest.raises(NotReady, match=f"the edge cannot be asked .*-2: .*{trouble}. `bidkit logs"):
        gateways.restart(1, say=lambda _: None)

    assert engine.ids(API) == ["id1"]


def test_a_replica_goes_when_the_edge_has_found_its_heir(gateways: Fleet, engine: Engine) -> None:
    gateways.restart(1, say=lambda _: None)

    asked = [n for n, line in enumerate(engine.calls) if line.startswith("exec id2")]
    (ended,) = (n for n, line in enumerate(engine.calls) if "stop id1" in line)
    assert asked[0] < ended
    assert engine.ids(API) == ["id3"]


def test_without_an_edge_nobody_is_asked_about_an_heir(gateways: Fleet, engine: Engine) -> None:
    engine.has_stopped("id2")

    gateways.restart(1, say=lambda _: None)

    assert engine.ids(API) == ["id3"]
