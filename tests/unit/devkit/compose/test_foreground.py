"""A system in the foreground, which its terminal looks on and ends."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pkg.devkit.backend import Options
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.place import Place
from pkg.devkit.errors import BidkitError
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.process.home import Home, save
from pkg.devkit.system import Desired
from tests.integration.ports import free_ports
from tests.unit.devkit.compose.standin import Engine, Onlooker, await_fact


@pytest.fixture
def backend(place: Place, engine: Engine) -> ComposeBackend:
    """Nobody answers on the edge's ports here: no replica is asked for that it would lead to."""
    edge, api, broadcast = free_ports(3)
    desired = Desired(
        edge_port=edge,
        api_port=api,
        broadcast_port=broadcast,
        replicas={API: 0, BROADCAST: 0, ARCHIVAL: 1},
    )
    save(place.desired, desired)
    return ComposeBackend(Home(place.home))


@contextmanager
def meanwhile(does: Callable[[], None]) -> Iterator[None]:
    """Beside the foreground, which has to be in the main thread for its signals."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            does()
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)
            interrupt()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        if failures:
            raise failures[0]


def interrupt(number: int = signal.SIGINT) -> None:
    """Of a foreground only: elsewhere it would be the test run that ends."""
    if is_heeded(number):
        os.kill(os.getpid(), number)


def is_heeded(number: int) -> bool:
    return signal.getsignal(number) not in {signal.SIG_DFL, signal.default_int_handler}


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
    backend: ComposeBackend, engine: Engine, place: Place, number: int
) -> None:
    def loses_patience() -> None:
        await_fact(lambda: is_heeded(number), seen=lambda: str(engine.calls))
        interrupt(number)

    with (
        place.lock(within_s=0, busy="busy"),
        meanwhile(loses_patience),
        pytest.raises(KeyboardInterrupt),
    ):
        backend.up(Options(), detach=False, watcher=Onlooker())

    assert engine.containers() == []


@pytest.mark.parametrize("phase", ["compose build", "compose up"])
def test_an_interrupt_ends_what_compose_is_at_and_leaves_nothing(
    backend: ComposeBackend, engine: Engine, place: Place, phase: str
) -> None:
    engine.will(phase, lingers_s=60)
    told = Onlooker()

    def loses_patience() -> None:
        engine.awaits_call(f"{phase} lingers")
        interrupt()

    with meanwhile(loses_patience), contextlib.suppress(KeyboardInterrupt):
        backend.up(Options(), detach=False, watcher=told)

    assert f"{phase} was ended" in engine.calls
    assert (engine.containers(), place.running.exists()) == ([], False)


@pytest.mark.parametrize("phase", ["compose build", "compose up"])
def test_a_down_ends_an_up_that_is_still_at_it(
    backend: ComposeBackend, engine: Engine, place: Place, phase: str
) -> None:
    engine.will(phase, lingers_s=60)

    def stop() -> None:
        engine.awaits_call(f"{phase} lingers")
        ComposeBackend(Home(place.home)).down(volumes=False, say=lambda _: None)

    with meanwhile(stop), pytest.raises(BidkitError, match="the system was stopped meanwhile"):
        backend.up(Options(), detach=True, watcher=Onlooker())

    assert (engine.containers(), place.running.exists()) == ([], False)
