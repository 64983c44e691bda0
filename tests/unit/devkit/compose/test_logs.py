import time
from collections.abc import Generator
from pathlib import Path

import pytest

from pkg.devkit.backend import LogLine, Options
from pkg.devkit.compose import backend as backend_module
from pkg.devkit.compose import logs
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.command import ComposeFailed
from pkg.devkit.compose.logs import parse
from pkg.devkit.compose.project import Project
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import NotReady, NotRunning
from pkg.devkit.home import Home, save
from pkg.devkit.names import API, ARCHIVAL, BROADCAST, REDIS
from pkg.devkit.ports import free_ports
from pkg.devkit.system import Desired
from tests.unit.devkit.compose.docker_command import DockerCommand
from tests.unit.devkit.compose.doubles import RecordingWatcher, are_gone, mark_started
from tests.unit.devkit.compose.fake_engine import FakeEngine


@pytest.fixture
def backend(state_dir: StateDir, compose: ComposeBackend) -> ComposeBackend:
    edge, api, broadcast = free_ports(3)
    replicas = {API: 0, BROADCAST: 0, ARCHIVAL: 1}
    save(state_dir.desired, Desired(api, broadcast, edge, replicas=replicas))
    return compose


def shown(backend: ComposeBackend) -> list[LogLine]:
    return list(backend.logs((ARCHIVAL,), last=50, follow=True))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("api-gateway-12  | a | b", LogLine("api-gateway-12", "a | b")),
        ("redis-1  | ready", LogLine("redis", "ready")),
        ("edge-1  | ", LogLine("edge", "")),
    ],
)
def test_lines_of_compose_get_bidkit_s_replica_names(line: str, expected: LogLine) -> None:
    assert parse(line) == expected


def test_logs_of_a_failed_start_are_kept(
    backend: ComposeBackend, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "READY_WITHIN_S", 0.2)
    engine.unready = {ARCHIVAL}

    with pytest.raises(NotReady, match="`bidkit logs archival-worker` shows the rest"):
        backend.up(Options(), detach=False, watcher=RecordingWatcher())

    assert engine.ids() == []
    (line, _) = shown(backend)
    assert (line.replica, line.text.startswith("what id")) == ("archival-worker-1", True)


def test_down_keeps_the_logs_of_this_and_the_previous_run(
    backend: ComposeBackend, state_dir: StateDir, engine: FakeEngine
) -> None:
    mark_started(state_dir)
    engine.add_running(archival_worker=1)
    backend.down(volumes=False, say=lambda _: None)
    mark_started(state_dir)
    engine.add_running(archival_worker=1)
    backend.down(volumes=False, say=lambda _: None)

    previous = Home(state_dir.home).logs / "previous" / "archival-worker-1.log"
    assert shown(backend) == [
        LogLine("archival-worker-1", "what id2 had to say"),
        LogLine("archival-worker-1", "the last words of id2"),
    ]
    assert previous.read_text() == "what id1 had to say\nthe last words of id1\n"


def test_log_of_a_replaced_replica_is_kept_in_full(
    backend: ComposeBackend, state_dir: StateDir, engine: FakeEngine
) -> None:
    mark_started(state_dir)
    Stack(state_dir).remember(Stack(state_dir).desired)
    engine.add_running(archival_worker=1)

    backend.restart(ARCHIVAL, say=lambda _: None)

    assert engine.ids(ARCHIVAL) == ["id2"]
    log = Home(state_dir.home).log("archival-worker-1").read_text()
    assert log == "what id1 had to say\nthe last words of id1\n"


def test_log_of_a_rolled_back_replacement_is_kept(
    backend: ComposeBackend, state_dir: StateDir, engine: FakeEngine
) -> None:
    mark_started(state_dir)
    Stack(state_dir).remember(Stack(state_dir).desired)
    engine.add_running(archival_worker=1)
    engine.set_behaviour("compose up", half=True, error="it was broken off")
    said: list[str] = []

    with pytest.raises(ComposeFailed):
        backend.restart(ARCHIVAL, say=said.append)

    file = Home(state_dir.home).log("archival-worker-2")
    assert file.read_text() == "what id2 had to say\nthe last words of id2\n"
    assert said == [f"archival-worker-2 is removed again; its log is {file}"]


def test_system_stops_even_if_its_logs_cannot_be_kept(
    backend: ComposeBackend, state_dir: StateDir, engine: FakeEngine
) -> None:
    """Otherwise a full disk would prevent deleting the data on it."""
    mark_started(state_dir)
    engine.add_running(archival_worker=1)
    Home(state_dir.home).logs.write_text("no folder")

    backend.down(volumes=False, say=lambda _: None)

    assert engine.ids() == []


def test_kept_log_is_limited_in_size(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "KEPT_BYTES", 8)
    engine.add_running(redis=1)

    logs.keep(engine, engine.containers("any"), Home(tmp_path))

    assert Home(tmp_path).log("redis").read_text() == " to say\n"
    assert any(f"--tail {logs.KEPT_LINES}" in line for line in engine.calls)


def test_closing_followed_logs_does_not_wait_for_a_command_that_ignores_signals(
    state_dir: StateDir, docker_command: DockerCommand
) -> None:
    pids = docker_command.withhold_signals("logs")
    lines = logs.read(Project(state_dir, Desired()), (REDIS,), last=1, follow=True)
    assert isinstance(lines, Generator)
    assert next(lines) == LogLine("redis", "hello")
    began = time.monotonic()

    lines.close()

    assert are_gone(pids)
    assert time.monotonic() - began < 8


def test_logs_fail_without_a_system_and_without_kept_logs(
    backend: ComposeBackend,
) -> None:
    with pytest.raises(NotRunning):
        shown(backend)
