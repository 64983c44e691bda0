"""The services' environment, grace periods, and refused starts."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pkg.devkit.backend import Options
from pkg.devkit.compose import state_dir as state_dir_module
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.passwords import make_passwords
from pkg.devkit.compose.shutdown import Shutdown
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir, held
from pkg.devkit.errors import BadArgument, BidkitError, NotReady, PortTaken
from pkg.devkit.names import API, ARCHIVAL, BROADCAST, EDGE
from pkg.devkit.ports import free_ports
from pkg.devkit.signals import Cancellation, no_check
from pkg.devkit.system import Desired
from tests.unit.devkit.compose.doubles import FakeClock, RecordingWatcher, mark_started
from tests.unit.devkit.compose.fake_engine import FakeEngine

DOLLARS = {"NATS_USER": "a$b$$c"}


@pytest.fixture
def backend(state_dir: StateDir, engine: FakeEngine, compose: ComposeBackend) -> ComposeBackend:
    """A running system with a dollar in a setting."""
    mark_started(state_dir)
    Stack(state_dir).remember(Desired(settings=DOLLARS))
    engine.add_running(api_gateway=1, broadcast_service=1, archival_worker=1)
    engine.add_running(redis=1, nats=1, postgres=1, edge=1)
    return compose


def test_each_service_is_shown_with_its_own_environment(backend: ComposeBackend) -> None:
    settings = backend.settings()

    assert [settings[service].get("DEREGISTER_S") for service in (API, BROADCAST)] == ["2", "2"]
    assert "DEREGISTER_S" not in settings[ARCHIVAL]


def test_dollars_in_settings_are_shown_unchanged(backend: ComposeBackend) -> None:
    assert backend.settings()[API]["NATS_USER"] == DOLLARS["NATS_USER"]


def prepared(stack: Stack, settings: Mapping[str, str]) -> Stack:
    edge, api, broadcast = free_ports(3)
    options = Options(api, broadcast, edge, settings=settings)
    stack.prepare(options, say=lambda _: None, check=no_check)
    return stack


@pytest.mark.parametrize(
    ("settings", "gateway", "worker"),
    [
        ({}, "25s", "23s"),
        ({"DEREGISTER_S": "20"}, "43s", "43s"),
        ({"SHUTDOWN_TIMEOUT_S": "100"}, "110s", "108s"),
    ],
)
def test_grace_periods_follow_from_the_settings(
    stack: Stack, settings: Mapping[str, str], gateway: str, worker: str
) -> None:
    """SHUTDOWN_TIMEOUT_S (15 by default) + DEREGISTER_S (2 for gateways, by compose.yaml) + 8 s."""
    graces = prepared(stack, settings).project.graces

    assert (graces[API], graces[ARCHIVAL]) == (gateway, worker)


def test_grace_periods_follow_from_services_env_too(stack: Stack, engine: FakeEngine) -> None:
    engine.shared_environment = {"SHUTDOWN_TIMEOUT_S": "60", "DEREGISTER_S": "9"}
    prepared(stack, {})

    stack.remember(stack.desired)

    # The gateways' DEREGISTER_S in compose.yaml wins over the file's.
    assert stack.project.graces == {API: "70s", BROADCAST: "70s", ARCHIVAL: "77s"}


@pytest.mark.parametrize(
    ("settings", "within_s"),
    [({}, 125), ({"DEREGISTER_S": "120", "SHUTDOWN_TIMEOUT_S": "120"}, 348)],
)
def test_down_waits_for_another_bidkit_as_long_as_stopping_may_take(
    state_dir: StateDir,
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    settings: Mapping[str, str],
    within_s: float,
) -> None:
    clock = FakeClock()
    prepared(stack, settings)
    mark_started(state_dir)
    monkeypatch.setattr(state_dir_module, "time", clock)

    with (
        held(state_dir.folder / "lock", within_s=0, busy="busy"),
        pytest.raises(BidkitError, match="another bidkit is still busy here"),
    ):
        Shutdown(state_dir, stack).run(lambda _: None, Cancellation())

    assert clock.now == pytest.approx(within_s, abs=1)


@pytest.mark.parametrize("same", [DOLLARS, {"BID_STRATEGY": "lua"}, {}])
def test_second_up_with_the_same_settings_succeeds(
    backend: ComposeBackend, same: Mapping[str, str]
) -> None:
    watcher = RecordingWatcher()

    backend.up(Options(settings=same), detach=True, watcher=watcher)

    assert watcher.lines == ["compose was ready"]


@pytest.mark.parametrize("other", [{"NATS_USER": "a$b$c"}, {"DEREGISTER_S": "2"}])
def test_second_up_with_other_settings_is_refused(
    backend: ComposeBackend, other: Mapping[str, str]
) -> None:
    with pytest.raises(BadArgument, match="differs"):
        backend.up(Options(settings=other), detach=True, watcher=RecordingWatcher())


@pytest.mark.parametrize(
    "complaint",
    [
        "Error starting userland proxy: listen tcp4 127.0.0.1:8000: bind: address already in use",
        "failed to bind host port 127.0.0.1:8000/tcp: address already in use",
        "Bind for 127.0.0.1:8000 failed: port is already allocated",
    ],
)
def test_port_taken_after_the_check_is_reported_and_nothing_keeps_running(
    state_dir: StateDir, stack: Stack, engine: FakeEngine, complaint: str
) -> None:
    mark_started(state_dir)
    engine.set_behaviour("compose up", half=True, error=complaint)

    with pytest.raises(PortTaken, match=r"a port was taken meanwhile: .* 127.0.0.1:8000"):
        stack.start(no_check)

    assert (engine.ids(), state_dir.running.exists()) == ([], False)


@pytest.mark.parametrize("detach", [True, False])
def test_running_system_keeps_running_if_the_edge_s_port_is_taken(
    backend: ComposeBackend, state_dir: StateDir, engine: FakeEngine, *, detach: bool
) -> None:
    (edge,) = engine.ids(EDGE)
    engine.mark_stopped(edge)
    before = engine.ids()
    engine.set_behaviour(
        "compose up", error="Bind for 127.0.0.1:8000 failed: port is already allocated"
    )

    with pytest.raises(NotReady, match=r"127.0.0.1:8000 .* Everything else keeps running"):
        backend.up(Options(), detach=detach, watcher=RecordingWatcher())

    assert (engine.ids(), state_dir.is_wanted) == (before, True)


def test_failure_to_make_passwords_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BidkitError, match=r"the secrets could not be made: .*file"):
        make_passwords(tmp_path / "file" / "secrets")
