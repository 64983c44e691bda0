"""What tests of compose share: a watcher, a clock, and a second user at work meanwhile."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.system import SystemStatus

_WITHIN_S = 20.0
_EVERY_S = 0.02


def await_fact(fact: Callable[[], bool], *, seen: Callable[[], object]) -> None:
    """As tests.waiting does it, for a thread beside the one under test."""
    deadline = time.monotonic() + _WITHIN_S
    while not fact():
        assert time.monotonic() < deadline, f"not within {_WITHIN_S:g} s; last seen: {seen()}"
        time.sleep(_EVERY_S)


class RecordingWatcher:
    """Keeps what it is shown, and reacts to it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._reactions: list[tuple[int, str, Callable[[], object]]] = []
        self._shown = 0

    def when(self, text: str, does: Callable[[], object], *, shown: int = 0) -> None:
        """Once, at the first line with this text, or as the status is shown for the nth time."""
        self._reactions.append((shown, text, does))

    def status(self, now: SystemStatus) -> None:  # noqa: ARG002
        self._shown += 1
        self._react("status")

    def event(self, line: str) -> None:
        self.lines.append(line)
        self._react(line)

    def ready(self, now: SystemStatus) -> None:
        self.event(f"{now.backend} is ready")

    def already(self, now: SystemStatus) -> None:
        self.event(f"{now.backend} was ready")

    def await_line(self, text: str) -> None:
        await_fact(lambda: any(text in line for line in self.lines), seen=lambda: self.lines)

    def _react(self, line: str) -> None:
        for reaction in list(self._reactions):
            shown, text, does = reaction
            if text in line and self._shown >= shown:
                self._reactions.remove(reaction)
                does()


class Clock:
    """Stands in for the module `time`, so that a long wait takes no time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def was_started(state_dir: StateDir) -> None:
    """Leaves in a home what `up` does."""
    state_dir.folder.mkdir(parents=True, exist_ok=True)
    state_dir.running.touch()


@contextmanager
def meanwhile(does: Callable[[], None]) -> Iterator[None]:
    """Runs it in a thread, since the main one has to receive the signals."""
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
    """Only where the signal is handled; otherwise it would end the test run."""
    if is_handled(number):
        os.kill(os.getpid(), number)


def is_handled(number: int) -> bool:
    return signal.getsignal(number) not in {signal.SIG_DFL, signal.default_int_handler}


def are_gone(pids: Path) -> bool:
    return all(_is_gone(int(text)) for text in pids.read_text().split())


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # its new parent may be slow
    except psutil.NoSuchProcess:
        return True
