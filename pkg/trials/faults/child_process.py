"""A child process of the bench: a service or a store."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from pkg.devkit.process.launch import Launch
from pkg.trials.waiting import NotInTimeError, until

_ENDS_WITHIN_S = 20.0
_LOG_TAIL = 4000


class Process:
    """Can be started again after it has ended, with the same log."""

    def __init__(self, name: str, launch: Callable[[], Launch], *, log: Path) -> None:
        self.name = name
        self._launch = launch
        self._log = log
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")[-_LOG_TAIL:] if self._log.exists() else ""

    def log_contains(self, text: str) -> bool:
        return self._log.exists() and text in self._log.read_text(errors="replace")

    def start(self) -> None:
        # The data is disposable: if the bench dies, nothing needs a graceful stop.
        launch = replace(self._launch(), orphan_signal=signal.SIGKILL)
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                launch.argv,
                **launch.options(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def send(self, number: signal.Signals) -> None:
        if self._running is not None and self._running.poll() is None:
            self._running.send_signal(number)

    async def kill(self) -> None:
        """Kills it, like a crash; returns when it and its children have ended.

        PostgreSQL's other processes end a moment after their parent; until then no new server may
        use the data.
        """
        if self._running is None or self._running.poll() is not None:
            return
        children = psutil.Process(self._running.pid).children(recursive=True)
        self._running.kill()
        await self._gone()
        await asyncio.to_thread(psutil.wait_procs, children, timeout=10)

    async def stop(self, how: signal.Signals) -> None:
        """Stops it gracefully, and kills it if that takes too long."""
        self.send(signal.SIGCONT)
        self.send(how)
        try:
            await self._gone()
        except NotInTimeError:
            await self.kill()

    async def pause(self) -> None:
        """Freezes it: it keeps its connections and answers nothing, like a hung machine."""
        self.send(signal.SIGSTOP)

    async def resume(self) -> None:
        self.send(signal.SIGCONT)

    def abandon(self) -> None:
        """Kills it and waits only for the kernel. For the end of the bench."""
        if self._running is not None and self._running.poll() is None:
            os.kill(self._running.pid, signal.SIGKILL)
            self._running.wait(timeout=_ENDS_WITHIN_S)

    async def _gone(self) -> None:
        await until(lambda: not self.alive, within_s=_ENDS_WITHIN_S, what=f"{self.name} ends")
