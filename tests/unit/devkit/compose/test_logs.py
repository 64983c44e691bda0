import time
from collections.abc import Generator
from pathlib import Path

import pytest

from pkg.devkit.backend import LogLine, Options
from pkg.devkit.compose import backend as backend_module
from pkg.devkit.compose import logs
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.command import ComposeFailed
from pkg.devkit.compose.engine import containers
from pkg.devkit.compose.logs import parse
from pkg.devkit.compose.project import Project
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import NotReady, NotRunning
from pkg.devkit.home import Home, save
from pkg.devkit.names import API, ARCHIVAL, BROADCAST, REDIS
from pkg.devkit.system import Desired
from tests.integration.ports import free_ports
from tests.unit.devkit.compose.standin import (
    Engine,
    Onlooker,
    are_gone,
    hands_nothing_on,
    was_started,
)


@pytest.fixture
def backend(state_dir: StateDir, engine: Engine) -> ComposeBackend:
    edge, api, broadcast = free_ports(3)
    replicas = {API: 0, BROADCAST: 0, ARCHIVAL: 1}
    save(state_dir.desired, Desired(api, broadcast, edge, replicas=replicas))
    return ComposeBackend(Home(state_dir.home))


def told(backend: ComposeBackend) -> list[LogLine]:
    return list(backend.logs((ARCHIVAL,), last=50, follow=True))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("api-gateway-12  | a | b", LogLine("api-gateway-12", "a | b")),
        ("redis-1  | ready", LogLine("redis", "ready")),
        ("edge-1  | ", LogLine("edge", "")),
    ],
)
def test_a_line_of_compose_bears_the_name_the_replica_has_elsewhere(
    line: str, expected: LogLine
) -> None:
    assert parse(line) == expected


def test_what_a_failed_start_has_said_outlives_its_containers(
    backend: ComposeBackend, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "READY_WITHIN_S", 0.2)
    engine.has_unready(ARCHIVAL)

    with pytest.raises(NotReady, match="`bidkit logs archival-worker` shows the rest"):
        backend.up(Options(), detach=False, watcher=Onlooker())

    assert engine.containers() == []
    (line, _) = told(backend)
    assert (line.replica, line.text.startswith("what id")) == ("archival-worker-1", True)


def test_logs_outlive_a_down_and_the_ones_before_are_kept_once(
    backend: ComposeBackend, state_dir: StateDir, engine: Engine
) -> None:
    was_started(state_dir)
    engine.runs(archival_worker=1)
    backend.down(volumes=False, say=lambda _: None)
    was_started(state_dir)
    engine.runs(archival_worker=1)
    backend.down(volumes=False, say=lambda _: None)

    previous = Home(state_dir.home).logs / "previous" / "archival-worker-1.log"
    assert told(backend) == [
        LogLine("archival-worker-1", "what id2 had to say"),
        LogLine("archival-worker-1", "the last words of id2"),
    ]
    assert previous.read_text() == "what id1 had to say\nthe last words of id1\n"


def test_what_a_replica_that_was_replaced_said_to_its_end_is_in_a_file(
    backend: ComposeBackend, state_dir: StateDir, engine: Engine
) -> None:
    was_started(state_dir)
    Stack(state_dir).remember(Stack(state_dir).desired)
    engine.runs(archival_worker=1)

    backend.restart(ARCHIVAL, say=lambda _: None)

    assert engine.ids(ARCHIVAL) == ["id2"]
    said = Home(state_dir.home).log("archival-worker-1").read_text()
    assert said == "what id1 had to say\nthe last words of id1\n"


def test_what_a_replica_that_was_taken_back_has_said_is_in_a_file(
    backend: ComposeBackend, state_dir: StateDir, engine: Engine
) -> None:
    was_started(state_dir)
    Stack(state_dir).remember(Stack(state_dir).desired)
    engine.runs(archival_worker=1)
    engine.will("compose up", half=True, says="it was broken off")
    said: list[str] = []

    with pytest.raises(ComposeFailed):
        backend.restart(ARCHIVAL, say=said.append)

    file = Home(state_dir.home).log("archival-worker-2")
    assert file.read_text() == "what id2 had to say\nthe last words of id2\n"
    assert said == [f"archival-worker-2 is taken away again; its log is {file}"]


def test_a_system_ends_although_its_logs_cannot_be_kept(
    backend: ComposeBackend, state_dir: StateDir, engine: Engine
) -> None:
    """A disk that its data has filled must not keep anybody from deleting that data."""
    was_started(state_dir)
    engine.runs(archival_worker=1)
    Home(state_dir.home).logs.write_text("no folder")

    backend.down(volumes=False, say=lambda _: None)

    assert engine.containers() == []


def test_what_is_kept_of_a_log_is_bounded(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "KEPT_BYTES", 8)
    engine.runs(redis=1)

    logs.keep(containers("any"), Home(tmp_path))

    assert Home(tmp_path).log("redis").read_text() == " to say\n"
    assert any(f"--tail {logs.KEPT_LINES}" in line for line in engine.calls)


def test_a_reader_of_logs_that_has_seen_enough_is_not_kept_by_a_command_that_is_deaf(
    state_dir: StateDir, engine: Engine
) -> None:
    pids = hands_nothing_on(engine, "logs")
    lines = logs.read(Project(state_dir, Desired()), (REDIS,), last=1, follow=True)
    assert isinstance(lines, Generator)
    assert next(lines) == LogLine("redis", "hello")
    began = time.monotonic()

    lines.close()

    assert are_gone(pids)
    assert time.monotonic() - began < 8


def test_without_a_system_and_without_logs_there_is_nothing_to_show(
    backend: ComposeBackend,
) -> None:
    with pytest.raises(NotRunning):
        told(backend)
