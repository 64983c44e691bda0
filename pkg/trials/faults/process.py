"""One process of the bench: started, signalled and waited for by the id that was kept."""

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
    """May be started again after its end; it then has another id and the same log."""

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

    def has_said(self, text: str) -> bool:
        return self._log.exists() and text in self._log.read_text(errors="replace")

    def start(self) -> None:
        # Throw-away data: when the bench dies, nothing is worth an orderly end.
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
        """Without a word to it, as a crash; returns when it and its children are gone.

        PostgreSQL's other processes notice by themselves that their parent is gone, a moment
        later; until then no new one may use the data.
        """
        if self._running is None or self._running.poll() is not None:
            return
        family = psutil.Process(self._running.pid).children(recursive=True)
        self._running.kill()
        await self._gone()
        await asyncio.to_thread(psutil.wait_procs, family, timeout=10)

    async def stop(self, how: signal.Signals) -> None:
        """In good order; killed when that takes too long."""
        self.send(signal.SIGCONT)
        self.send(how)
        try:
            await self._gone()
        except NotInTimeError:
            await self.kill()

    async def pause(self) -> None:
        """It keeps its connections and answers nothing, as a machine that hangs."""
        self.send(signal.SIGSTOP)

    async def resume(self) -> None:
        self.send(signal.SIGCONT)

    def abandon(self) -> None:
        """For the very end: no waiting but for the kernel."""
        if self._running is not None and self._running.poll() is None:
            os.kill(self._running.pid, signal.SIGKILL)
            self._running.wait(timeout=_ENDS_WITHIN_S)

    async def _gone(self) -> None:
        await until(lambda: not self.alive, within_s=_ENDS_WITHIN_S, what=f"{self.name} ends")
