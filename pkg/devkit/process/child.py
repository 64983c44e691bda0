"""One running process and its log."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from pkg.devkit.process.launch import Launch
from pkg.devkit.process.records import Records, record_of

HURRIED_S = 1.0
SHORTEST_SAMPLE_S = 0.5
"""The kernel counts CPU in hundredths of a second: over less than this, that is mostly noise."""


@dataclass(frozen=True, slots=True)
class Hurry:
    """Set when the user asks twice: then nothing gets more than a second to end."""

    asked: asyncio.Event


class Child:
    def __init__(
        self, process: asyncio.subprocess.Process, launch: Launch, records: Records, hurry: Hurry
    ) -> None:
        self._process = process
        self._launch = launch
        self._records = records
        self._hurry = hurry
        self._began = time.monotonic()
        self._exit = asyncio.create_task(self._reap())

    @classmethod
    async def start(
        cls, name: str, launch: Launch, *, log: Path, records: Records, hurry: Hurry
    ) -> "Child":
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *launch.argv,
                **launch.options(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
            )
        child = cls(process, launch, records, hurry)
        try:
            records.add(
                record_of(
                    name,
                    process.pid,
                    stop_signal=launch.stop_signal,
                    stop_within_s=launch.stop_within_s,
                )
            )
        except OSError:
            # An unrecorded process could outlive its supervisor and keep its port.
            child._send(signal.SIGKILL)
            await child.exit
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def exit(self) -> asyncio.Task[int]:
        """Resolves to the exit code when the process has ended."""
        return self._exit

    async def stop(self, *, within_s: float | None = None) -> int:
        """Asks it to end, kills it past the limit, and returns its exit code."""
        limit_s = self._launch.stop_within_s if within_s is None else within_s
        self._send(self._launch.stop_signal)
        hurried = asyncio.create_task(self._hurry.asked.wait())
        try:
            await asyncio.wait(
                {self._exit, hurried}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            hurried.cancel()
        if not self._exit.done():
            await asyncio.wait({self._exit}, timeout=HURRIED_S)
        if not self._exit.done():
            self._send(signal.SIGKILL)
        return await self._exit

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _reap(self) -> int:
        code = await self._process.wait()
        with contextlib.suppress(OSError):  # a full disk: an outdated record does no harm
            self._records.remove(self._process.pid)
        return code


class Usage:
    """CPU and memory of a process and its children, as of the last sample."""

    def __init__(self, pid: int, *, now: Callable[[], float] = time.monotonic) -> None:
        try:
            self._process: psutil.Process | None = psutil.Process(pid)
        except psutil.NoSuchProcess:  # it has ended already
            self._process = None
        self._now = now
        self._cpu_s = 0.0
        self._at = now()
        self.cpu_percent: float | None = None
        self.memory_bytes: int | None = None

    def sample(self) -> None:
        if self._process is None:
            return
        try:
            family = [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        cpu_s, memory = 0.0, 0
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                times, held = one.cpu_times(), one.memory_info()
                cpu_s += times.user + times.system
                # PostgreSQL's processes share their buffers, which count once.
                shared = 0 if one is self._process else getattr(held, "shared", 0)
                memory += held.rss - shared
        self.memory_bytes = memory
        at = self._now()
        if at - self._at < SHORTEST_SAMPLE_S:
            return
        self.cpu_percent = max(0.0, 100 * (cpu_s - self._cpu_s) / (at - self._at))
        self._cpu_s, self._at = cpu_s, at
