"""A file of what was started, so that it can be ended after its supervisor was killed."""

import contextlib
import signal
from pathlib import Path

import msgspec
import psutil

from pkg.devkit.home import load, save

_SAME_START_S = 2.0
"""A process counts as the recorded one when it started at the recorded time, give or take what
the system clock was set by meanwhile; a pid alone may long belong to someone else."""


class Record(msgspec.Struct, frozen=True):
    name: str
    pid: int
    started: float
    stop_signal: int
    stop_within_s: float

    def process(self) -> psutil.Process | None:
        """The process, if it still runs."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START_S
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def record_of(name: str, pid: int, *, stop_signal: int, stop_within_s: float) -> Record:
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # it has ended already; its exit code tells why
        started = 0.0
    return Record(name, pid, started, stop_signal, stop_within_s)


class Records:
    """The running processes, written to the file at every change."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._running: dict[int, Record] = {}

    def add(self, record: Record) -> None:
        self._running[record.pid] = record
        save(self._file, list(self._running.values()))

    def remove(self, pid: int) -> None:
        if self._running.pop(pid, None):
            save(self._file, list(self._running.values()))


def end_leftovers(file: Path) -> list[str]:
    """Ends what a dead supervisor left, services before stores, and returns the names."""
    left = [(record, record.process()) for record in load(file, list[Record]) or []]
    alive = [(record, process) for record, process in left if process]
    for record, process in reversed(alive):  # later ones depend on earlier ones
        with contextlib.suppress(psutil.NoSuchProcess):
            # A stopped process takes no signal but SIGKILL.
            process.send_signal(signal.SIGCONT)
            process.send_signal(record.stop_signal)
    limit_s = max((record.stop_within_s for record, _ in alive), default=0.0)
    _, stubborn = psutil.wait_procs([process for _, process in alive], timeout=limit_s)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)
    file.unlink(missing_ok=True)
    return [record.name for record, _ in alive]
