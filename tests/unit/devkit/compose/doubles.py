"""Test doubles and helpers for compose: a watcher, a clock, threads and signals."""

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
    """Like `pkg.trials.waiting.until`, but for threads."""
    deadline = time.monotonic() + _WITHIN_S
    while not fact():
        assert time.monotonic() < deadline, f"not within {_WITHIN_S:g} s; last seen: {seen()}"
        time.sleep(_EVERY_S)


class RecordingWatcher:
    """Records the lines it gets, and can run an action at one of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._reactions: list[tuple[int, str, Callable[[], object]]] = []
        self._statuses = 0

    def on_line(self, text: str, action: Callable[[], object], *, after_statuses: int = 0) -> None:
        """Runs the action once, at the first line with this text after that many statuses.

        A status itself counts as the line `status`.
        """
        self._reactions.append((after_statuses, text, action))

    def status(self, now: SystemStatus) -> None:  # noqa: ARG002
        self._statuses += 1
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
            after_statuses, text, action = reaction
            if text in line and self._statuses >= after_statuses:
                self._reactions.remove(reaction)
                action()


class FakeClock:
    """Replaces the module `time`: `sleep` returns at once and moves the clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def mark_started(state_dir: StateDir) -> None:
    """Marks the system of this home as started, as `up` does."""
    state_dir.folder.mkdir(parents=True, exist_ok=True)
    state_dir.running.touch()


@contextmanager
def concurrently(action: Callable[[], None]) -> Iterator[None]:
    """Runs the action in a thread: the main thread has to receive signals."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            action()
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
    """Signals our own process, if it handles the signal; otherwise the test run would end."""
    if is_handled(number):
        os.kill(os.getpid(), number)


def is_handled(number: int) -> bool:
    return signal.getsignal(number) not in {signal.SIG_DFL, signal.default_int_handler}


def are_gone(pids: Path) -> bool:
    """Whether every process listed in the file has ended."""
    return all(_is_gone(int(text)) for text in pids.read_text().split())


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # not reaped yet
    except psutil.NoSuchProcess:
        return True
