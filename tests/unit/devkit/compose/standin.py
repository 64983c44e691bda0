"""A home and an engine of a test's own, where no Docker is needed; see docker_standin.py."""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.system import SystemStatus

_WITHIN_S = 20.0
_EVERY_S = 0.02
OWN_IMAGES = (
    "own/nats:tag",
    "own/api-gateway:tag",
    "own/broadcast-service:tag",
    "own/archival-worker:tag",
)
_PROGRAM = Path(__file__).with_name("docker_standin.py")


class Engine:
    """The stand-in's engine; `folder` is to be put on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._file = folder / "engine.json"
        self._write(
            {
                "containers": [],
                "volumes": [],
                "networks": [],
                "images": {},
                "made": 0,
                "orders": {},
                "unready": [],
                "unseen": [],
            }
        )
        command = folder / "docker"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -SE {_PROGRAM} {folder} "$@"\n')
        command.chmod(0o755)

    def will(self, command: str, **order: object) -> None:
        """How `docker COMMAND` goes from now on: `says` and fails, having done `half` its work
        or none; `does_nothing`; `signals` (process, number); `lingers_s` before it ends; so many
        `times`, else for ever.
        """
        self._change(lambda state: state["orders"].__setitem__(command, order))

    def is_well(self) -> None:
        self._change(lambda state: state["orders"].clear())

    def is_lost(self) -> None:
        gone = "Cannot connect to the Docker daemon at unix:///x."
        for command in ("ps", "compose up", "compose down", "version", "image ls", "volume"):
            self.will(command, says=gone)

    def has_unready(self, *which: str) -> None:
        """By services, or by containers' ids, also of those to come: `id1`, `id2` and so on."""
        self._change(lambda state: state.__setitem__("unready", list(which)))

    def has_stopped(self, container: str) -> None:
        def stop(state: dict[str, Any]) -> None:
            for one in state["containers"]:
                if one["id"] == container:
                    one["status"] = "exited"

        self._change(stop)

    def holds(self, *images: str) -> None:
        ids = {name: f"sha256:{name}" for name in images}
        self._change(lambda state: state["images"].update(ids))

    def edge_does_not_see(self, *ids: str) -> None:
        self._change(lambda state: state.__setitem__("unseen", list(ids)))

    def runs(self, **replicas: int) -> None:
        """So many containers more of each service, ready."""
        for name, number in replicas.items():
            service = name.replace("_", "-")
            for _ in range(number):
                self._change(lambda state, service=service: _add(state, service))

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._file.read_text())["containers"]
        return [one for one in found if service in {None, one["service"]}]

    def ids(self, service: str | None = None) -> list[str]:
        return [one["id"] for one in self.containers(service)]

    @property
    def calls(self) -> list[str]:
        try:
            return (self.folder / "calls").read_text().splitlines()
        except FileNotFoundError:
            return []

    def awaits_calls(self, more: int) -> None:
        """Until it was asked so many times more."""
        before = len(self.calls)
        await_fact(lambda: len(self.calls) >= before + more, seen=lambda: str(self.calls[-5:]))

    def awaits_call(self, text: str) -> None:
        await_fact(
            lambda: any(text in line for line in self.calls), seen=lambda: str(self.calls[-5:])
        )

    def _change(self, change: Any) -> None:  # noqa: ANN401 - any function of the state
        with (self.folder / "engine.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = json.loads(self._file.read_text())
            change(state)
            self._write(state)

    def _write(self, state: dict[str, Any]) -> None:
        writing = self._file.with_suffix(".own")
        writing.write_text(json.dumps(state))
        writing.replace(self._file)


def _add(state: dict[str, Any], service: str) -> None:
    state["made"] += 1
    used = {one["number"] for one in state["containers"] if one["service"] == service}
    state["containers"].append(
        {
            "id": f"id{state['made']}",
            "service": service,
            "number": min(set(range(1, 99)) - used),
            "status": "running",
        }
    )


def await_fact(fact: Callable[[], bool], *, seen: Callable[[], str]) -> None:
    """As tests.waiting does it, from a thread beside what is tested."""
    deadline = time.monotonic() + _WITHIN_S
    while not fact():
        assert time.monotonic() < deadline, f"not within {_WITHIN_S:g} s; last seen: {seen()}"
        time.sleep(_EVERY_S)


@dataclass
class Onlooker:
    """A watcher that keeps what it is told."""

    lines: list[str] = field(default_factory=list)

    def status(self, now: SystemStatus) -> None: ...

    def await_line(self, text: str) -> None:
        await_fact(lambda: any(text in line for line in self.lines), seen=lambda: str(self.lines))

    def event(self, line: str) -> None:
        self.lines.append(line)

    def ready(self, now: SystemStatus) -> None:
        self.lines.append(f"{now.backend} is ready")

    def already(self, now: SystemStatus) -> None:
        self.lines.append(f"{now.backend} was ready")


class Clock:
    """Of which a whole wait takes no time; it stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def hands_nothing_on(engine: Engine, verb: str) -> Path:
    """From now on `docker compose VERB` does as docker's own command: it keeps a signal from the
    plugin that it starts, which says a line. The file is to hold both their pids; see `are_gone`.
    """
    command = engine.folder / "docker"
    pids = engine.folder / "pids"
    command.write_text(
        "#!/bin/sh\n"
        'case " $* " in\n'
        f'*" {verb} "*)\n'
        '  echo "$*" >>"$(dirname "$0")/calls"\n'
        "  trap : TERM\n"
        f"  sh -c 'echo $PPID $$ >{pids}.new; mv {pids}.new {pids}\n"
        '    echo "redis-1  | hello"; exec sleep 20\' &\n'
        "  wait; wait ;;\n"
        f'*) exec {sys.executable} -SE {_PROGRAM} {engine.folder} "$@" ;;\n'
        "esac\n"
    )
    return pids


def are_gone(pids: Path) -> bool:
    return all(_is_gone(int(text)) for text in pids.read_text().split())


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # its new parent may be slow
    except psutil.NoSuchProcess:
        return True


def was_started(state_dir: StateDir) -> None:
    """What `up` leaves in a home."""
    state_dir.folder.mkdir(parents=True, exist_ok=True)
    state_dir.running.touch()


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
