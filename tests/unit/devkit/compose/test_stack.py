"""What the services are given, and how a start is refused."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pkg.devkit.backend import Options
from pkg.devkit.compose import state_dir as state_dir_module
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.fleet import Fleet
from pkg.devkit.compose.passwords import make_passwords
from pkg.devkit.compose.shutdown import Shutdown
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir, held
from pkg.devkit.errors import BadArgument, BidkitError, NotReady, PortTaken
from pkg.devkit.home import Home
from pkg.devkit.names import API, ARCHIVAL, BROADCAST, EDGE
from pkg.devkit.signals import Interrupt
from pkg.devkit.system import Desired
from tests.integration.ports import free_ports
from tests.unit.devkit.compose.standin import Clock, Engine, Onlooker, was_started

ODD = {"NATS_USER": "a$b$$c"}


@pytest.fixture
def backend(state_dir: StateDir, engine: Engine) -> ComposeBackend:
    """Running, as it was asked for with an odd name."""
    was_started(state_dir)
    Stack(state_dir).remember(Desired(settings=ODD))
    engine.runs(api_gateway=1, broadcast_service=1, archival_worker=1)
    engine.runs(redis=1, nats=1, postgres=1, edge=1)
    return ComposeBackend(Home(state_dir.home))


def test_each_service_is_shown_with_what_it_is_given_itself(backend: ComposeBackend) -> None:
    given = backend.settings()

    assert [given[service].get("DEREGISTER_S") for service in (API, BROADCAST)] == ["2", "2"]
    assert "DEREGISTER_S" not in given[ARCHIVAL]


def test_a_dollar_is_shown_as_it_was_given(backend: ComposeBackend) -> None:
    assert backend.settings()[API]["NATS_USER"] == ODD["NATS_USER"]


def prepared(state_dir: StateDir, settings: Mapping[str, str]) -> Stack:
    edge, api, broadcast = free_ports(3)
    stack = Stack(state_dir)
    options = Options(api, broadcast, edge, settings=settings)
    stack.prepare(options, say=lambda _: None, look=lambda: None)
    return stack


@pytest.mark.parametrize(
    ("settings", "gateway", "worker"),
    [
        ({}, "25s", "23s"),
        ({"DEREGISTER_S": "20"}, "43s", "43s"),
        ({"SHUTDOWN_TIMEOUT_S": "100"}, "110s", "108s"),
    ],
)
def test_a_service_has_the_time_to_end_that_its_settings_give_it(
    state_dir: StateDir, engine: Engine, settings: Mapping[str, str], gateway: str, worker: str
) -> None:
    """SHUTDOWN_TIMEOUT_S is 15 unless it is set, and 8 s are to spare; compose.yaml has gateways
    deregister for 2 s.
    """
    graces = prepared(state_dir, settings).project.graces

    assert (graces[API], graces[ARCHIVAL]) == (gateway, worker)


def test_what_the_file_of_all_services_gives_them_counts_and_is_not_forgotten(
    state_dir: StateDir, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "services.env"
    file.write_text("SHUTDOWN_TIMEOUT_S=60\nDEREGISTER_S=9\n")
    monkeypatch.setenv("SERVICES_ENV", str(file))
    stack = prepared(state_dir, {})

    stack.remember(stack.desired)

    # The gateway's own DEREGISTER_S, of compose.yaml, goes before the file's.
    assert stack.project.graces == {API: "70s", BROADCAST: "70s", ARCHIVAL: "77s"}


@pytest.mark.parametrize(
    ("settings", "within_s"),
    [({}, 125), ({"DEREGISTER_S": "120", "SHUTDOWN_TIMEOUT_S": "120"}, 348)],
)
def test_whoever_waits_for_the_end_of_a_system_waits_as_long_as_that_may_take(
    state_dir: StateDir,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    settings: Mapping[str, str],
    within_s: float,
) -> None:
    stack, clock = prepared(state_dir, settings), Clock()
    was_started(state_dir)
    engine.runs(archival_worker=2)
    fleet = Fleet(ARCHIVAL, project=stack.project, state_dir=state_dir, interrupt=Interrupt())
    monkeypatch.setattr(state_dir_module, "time", clock)
    waits: list[Callable[[], object]] = [
        lambda: Shutdown(state_dir, stack).run(lambda _: None),
        lambda: fleet.take_back({"id1"}, say=lambda _: None),
    ]

    for number, wait in enumerate(waits, 1):
        with (
            held(state_dir.folder / "lock", within_s=0, busy="busy"),
            pytest.raises(BidkitError, match="another bidkit is still busy here"),
        ):
            wait()
        assert clock.now == pytest.approx(number * within_s, abs=1)


@pytest.mark.parametrize("same", [ODD, {"BID_STRATEGY": "lua"}, {}])
def test_a_second_up_that_asks_for_the_same_is_content(
    backend: ComposeBackend, same: Mapping[str, str]
) -> None:
    told = Onlooker()

    backend.up(Options(settings=same), detach=True, watcher=told)

    assert told.lines == ["compose was ready"]


@pytest.mark.parametrize("other", [{"NATS_USER": "a$b$c"}, {"DEREGISTER_S": "2"}])
def test_one_that_asks_for_what_not_every_reader_has_is_refused(
    backend: ComposeBackend, other: Mapping[str, str]
) -> None:
    with pytest.raises(BadArgument, match="differs"):
        backend.up(Options(settings=other), detach=True, watcher=Onlooker())


@pytest.mark.parametrize(
    "complaint",
    [
        "Error starting userland proxy: listen tcp4 127.0.0.1:8000: bind: address already in use",
        "failed to bind host port 127.0.0.1:8000/tcp: address already in use",
        "Bind for 127.0.0.1:8000 failed: port is already allocated",
    ],
)
def test_a_port_taken_since_it_was_checked_is_called_that_and_nothing_stays(
    state_dir: StateDir, engine: Engine, complaint: str
) -> None:
    was_started(state_dir)
    engine.will("compose up", half=True, says=complaint)

    with pytest.raises(PortTaken, match=r"a port was taken meanwhile: .* 127.0.0.1:8000"):
        Stack(state_dir).start(lambda: None)

    assert (engine.containers(), state_dir.running.exists()) == ([], False)


@pytest.mark.parametrize("detach", [True, False])
def test_a_port_taken_from_a_system_that_was_running_ends_nothing_of_it(
    backend: ComposeBackend, state_dir: StateDir, engine: Engine, *, detach: bool
) -> None:
    (edge,) = engine.ids(EDGE)
    engine.has_stopped(edge)
    before = engine.containers()
    engine.will("compose up", says="Bind for 127.0.0.1:8000 failed: port is already allocated")

    with pytest.raises(NotReady, match=r"127.0.0.1:8000 .* Everything else keeps running"):
        backend.up(Options(), detach=detach, watcher=Onlooker())

    assert (engine.containers(), state_dir.is_wanted) == (before, True)


def test_passwords_that_cannot_be_made_are_told_with_the_last_word(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BidkitError, match=r"the secrets could not be made: .*file"):
        make_passwords(tmp_path / "file" / "secrets")
