"""Shows a system as it starts: a live table on a terminal, elsewhere one line per change."""

import contextlib
import time
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pkg.devkit import views
from pkg.devkit.backend import STOPPING
from pkg.devkit.system import ServiceStatus, SystemStatus

_MARKS = {True: Text("✓", style="green"), False: Text("…", style="yellow")}


class Progress:
    """A Watcher. It owns the terminal's last lines from the first status until all is ready."""

    def __init__(self, console: Console, *, farewell: str) -> None:
        self._console = console
        self._farewell = farewell
        self._live: Live | None = None
        self._began = time.monotonic()
        self._ready: set[str] = set()
        self._settled = False

    def __enter__(self) -> Self:
        # Making data directories comes first: it has no status yet and may take a second.
        if self._console.is_terminal:
            preparing = Text("… preparing the stores", style="yellow")
            self._live = Live(preparing, console=self._console, refresh_per_second=10)
            self._live.transient = True
            with contextlib.suppress(OSError):  # even without a terminal the system starts
                self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def status(self, now: SystemStatus) -> None:
        if self._live:
            self._live.transient = False
            self._live.update(self._table(now))
        for service in now.services:
            if _is_ready(service) and service.service not in self._ready:
                self._ready.add(service.service)
                if not self._console.is_terminal:
                    took = f"{service.service} is ready after {self._elapsed_s:.1f} s"
                    views.plain(self._console, took)

    def event(self, line: str) -> None:
        if line == STOPPING and self._live:
            self._live.transient = True
            self._stop()
        if self._settled or not _is_of_course(line):
            views.plain(self._console, line)

    def ready(self, now: SystemStatus) -> None:
        self._stop()
        self._settled = True
        views.plain(self._console, f"Everything is ready after {self._elapsed_s:.1f} s.")
        views.plain(self._console, views.to_try(now))
        views.plain(self._console, self._farewell)

    def already(self, now: SystemStatus) -> None:
        self._stop()
        self._settled = True
        views.plain(self._console, "The system is already running; `bidkit down` stops it.")
        views.plain(self._console, views.to_try(now))

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def _stop(self) -> None:
        if self._live:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None

    def _table(self, now: SystemStatus) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for service in sorted(now.services, key=lambda one: one.kind, reverse=True):
            waiting = [one.why or one.phase for one in service.replicas if not one.ready]
            state = "ready" if _is_ready(service) else ", ".join(waiting) or "waits for the stores"
            table.add_row(_MARKS[_is_ready(service)], service.service, Text(state, style="dim"))
        table.add_row("", Text(f"{self._elapsed_s:.1f} s", style="dim"), "")
        return table


def _is_ready(service: ServiceStatus) -> bool:
    return service.ready >= service.desired


def _is_of_course(line: str) -> bool:
    """Readiness is shown by the table, or by a line with the time that it took."""
    return line.endswith(" is ready")
