"""The compose backend: what bidkit's verbs come to with containers.

There is no supervisor: Docker restarts what ends, compose knows what belongs to the system, and
each verb looks for itself. A lock in the home keeps them out of each other's way.
"""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import ClassVar

from pkg.devkit import log_files as process_logs
from pkg.devkit.backend import STOPPING, LogLine, Options, Say, Watcher, refuse_change
from pkg.devkit.compose import edge, engine, logs
from pkg.devkit.compose.changes import News
from pkg.devkit.compose.command import LOOK_EVERY_S, ComposeFailed, Look, nobody
from pkg.devkit.compose.container import Container
from pkg.devkit.compose.oneoff import run_once
from pkg.devkit.compose.operations import Operations
from pkg.devkit.compose.place import Place
from pkg.devkit.compose.shutdown import Shutdown
from pkg.devkit.compose.sight import Sight
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.status import system_of
from pkg.devkit.compose.usage import usage
from pkg.devkit.errors import BidkitError, NotReady, NotRunning, PortTaken
from pkg.devkit.home import Home
from pkg.devkit.names import ARCHIVAL, EDGE, SERVICES, STORES
from pkg.devkit.signals import Interrupt, interrupts
from pkg.devkit.system import SystemStatus

READY_WITHIN_S = 120.0
STARTED_WITHIN_S = 1200.0
"""What another `up` may take, which may have to fetch and build images."""

_WATCH_EVERY_S = 1.0
_TRY_AGAIN_AFTER_S = 1.0
_IS_OURS, _WAS_RUNNING, _WAS_READY = "ours", "running", "ready"


class ComposeBackend:
    name: ClassVar[str] = "compose"
    parts: ClassVar[tuple[str, ...]] = (*SERVICES, *STORES, EDGE)

    def __init__(self, home: Home) -> None:
        self._place = Place(home.folder)
        self._home = home
        self._stack = Stack(self._place)
        self._sight = Sight(self._place, self._stack)
        self._shutdown = Shutdown(self._place, self._stack)
        self._operations = Operations(self._place, self._stack)
        self._run: str | None = None
        """The mark of what this very process has started."""

    def up(self, options: Options, *, detach: bool, watcher: Watcher) -> None:
        engine.engine_version()
        engine.compose_version()
        if detach:
            never = Interrupt()  # Ctrl-C ends bidkit as it does any command
            if self._come_up(options, watcher, never) is not _WAS_READY:
                self._see_ready(watcher, never, keep=True)
            return
        with interrupts() as interrupt:
            self._foreground(options, watcher, interrupt)

    def down(self, *, volumes: bool, say: Say) -> None:
        was_running = self._shutdown.run(say)
        say("Everything is stopped." if was_running else "Nothing was running.")
        if volumes:
            with self._locked():
                if self._place.running.exists():
                    raise BidkitError(
                        "somebody has just started the system again; nothing deleted."
                    )
                some = self._stack.has_data()
                if some:
                    self._stack.project.down(volumes=True)
                self._stack.forget()
            say(
                "All data on compose is deleted."
                if some
                else "There was no data on compose to delete."
            )

    def status(self) -> SystemStatus:
        found = self._running()
        used = usage({one.id: one.pid for one in found if one.pid})
        return system_of(found, self._stack.desired, used)

    def settings(self) -> dict[str, dict[str, str]]:
        self._running()
        return self._stack.settings()

    def scale(self, replicas: Mapping[str, int], *, say: Say) -> None:
        self._running()
        self._operations.scale(replicas, say=say)

    def restart(self, service: str, *, say: Say) -> None:
        self._running()
        self._operations.restart(service, say=say)

    def logs(self, services: tuple[str, ...], *, last: int, follow: bool) -> Iterator[LogLine]:
        try:
            self._running()
        except NotRunning:
            if not any(self._home.logs.glob("*.log")):
                raise
            # Nothing more will come into these.
            return process_logs.read(self._home, services, last=last, follow=False)
        return logs.read(self._stack.project, services, last=last, follow=follow)

    def audit(self, arguments: tuple[str, ...]) -> int:
        return self._run_archival("audit", arguments)

    def restore(self, arguments: tuple[str, ...]) -> int:
        return self._run_archival("restore", arguments)

    def _run_archival(self, command: str, arguments: tuple[str, ...]) -> int:
        self._running()
        return run_once(self._stack.project, ARCHIVAL, command, *arguments)

    def _come_up(self, options: Options, watcher: Watcher, interrupt: Interrupt) -> str:
        """How it was found; unless it was ready, it is not yet seen to be."""

        def look() -> None:
            interrupt.heed()
            self._place.check_not_being_stopped()

        busy = "another bidkit is still starting or stopping the system."
        with self._locked(within_s=STARTED_WITHIN_S, busy=busy, look=interrupt.heed):
            interrupt.heed()
            if self._is_up():
                now = self._sight.now()
                refuse_change(options, now, self._stack.settings())
                if now.ready:
                    watcher.already(now)
                    return _WAS_READY
                watcher.event("the system is already running, but not ready")
                # What was stopped by hand is missing until somebody asks for it.
                self._start(watcher, interrupt, was_running=True)
                return _WAS_RUNNING
            self._refuse_others()
            self._end_leftovers(watcher, look)
            look()
            self._stack.prepare(options, say=watcher.event, look=look)
            look()
            self._run = self._place.begin_run()
            self._start(watcher, interrupt, was_running=False)
            return _IS_OURS

    def _start(self, watcher: Watcher, interrupt: Interrupt, *, was_running: bool) -> None:
        """Compose gives up on what depends on a store that is not healthy at its first checks."""
        deadline = time.monotonic() + READY_WITHIN_S

        def look() -> None:
            self._still_wanted(interrupt)
            # A store that keeps ending raises NotReady long before compose gives up. An engine that
            # is busy is no reason to: compose tells what matters.
            self._sight.settled(watcher, deadline=math.inf, forgiving_until=deadline)

        while True:
            try:
                self._stack.start(look, was_running=was_running, heed=interrupt.heed)
            except ComposeFailed as error:
                if not (error.is_impatient and engine.containers(self._place.project)):
                    raise
                if time.monotonic() > deadline:
                    watcher.event(str(error))  # the containers themselves tell more
                    return
                time.sleep(_TRY_AGAIN_AFTER_S)
            else:
                return

    def _foreground(self, options: Options, watcher: Watcher, interrupt: Interrupt) -> None:
        was_ready = False
        try:
            found = self._come_up(options, watcher, interrupt)
            if found is not _WAS_READY:
                self._see_ready(watcher, interrupt, keep=found is _WAS_RUNNING)
            was_ready = True
            if found is _IS_OURS:
                self._tell_changes(watcher, interrupt)
        except PortTaken:
            self._run = None  # nothing of it is left
            raise
        except (BidkitError, KeyboardInterrupt) as error:
            if not (self._run and interrupt.stop.is_set()):
                raise
            if not was_ready:
                raise KeyboardInterrupt from error
        finally:
            if self._run:
                self._stop_and_say(self._run, watcher, interrupt)

    def _stop_and_say(self, run: str, watcher: Watcher, interrupt: Interrupt) -> None:
        def say(line: str) -> None:
            # Whoever looked on may be gone, with the terminal or the pipe.
            with contextlib.suppress(OSError):
                watcher.event(line)

        if self._is_ours:
            say(STOPPING)
        # Else another bidkit is at it, which this waits for, or has done it.
        was_ours = self._shutdown.run_own(run, say, interrupt)
        say("Everything is stopped." if was_ours else "another bidkit has stopped it.")

    def _see_ready(self, watcher: Watcher, interrupt: Interrupt, *, keep: bool) -> None:
        """`keep` tells whether the system goes on when it does not get ready."""
        deadline = time.monotonic() + READY_WITHIN_S

        def still_wanted() -> None:
            self._still_wanted(interrupt)

        try:
            while not (
                now := self._sight.settled(watcher, deadline=deadline, forgiving_until=deadline)
            ):
                still_wanted()
                time.sleep(LOOK_EVERY_S)
            edge.await_passing(self._stack.desired, still_wanted=still_wanted)
        except NotReady as error:
            if not keep:
                raise
            raise NotReady(
                f"{error} Everything else keeps running; `bidkit down` stops it."
            ) from error
        watcher.ready(now)

    def _still_wanted(self, interrupt: Interrupt) -> None:
        interrupt.heed()
        self._place.check_wanted(self._run)

    @property
    def _is_ours(self) -> bool:
        return bool(self._run and self._place.runs(self._run) and self._place.is_wanted)

    def _tell_changes(self, watcher: Watcher, interrupt: Interrupt) -> None:
        """Until somebody stops the system; an engine that is restarted meanwhile does not."""
        news = News(self._place.project, watcher)
        while not interrupt.stop.wait(_WATCH_EVERY_S) and self._is_ours:
            news.tell()

    def _running(self) -> list[Container]:
        """Raises NotRunning."""
        found = engine.containers(self._place.project) if self._place.running.exists() else []
        if not found:
            raise NotRunning("nothing is running; `bidkit up` starts the system.")
        return found

    def _is_up(self) -> bool:
        return self._place.running.exists() and bool(engine.containers(self._place.project))

    def _refuse_others(self) -> None:
        """Raises BidkitError when this home's system runs on processes."""
        with self._home.lock() as free:
            if not free:
                raise BidkitError(
                    "the system of this home runs on processes; `bidkit down` stops it."
                )

    def _end_leftovers(self, watcher: Watcher, look: Look) -> None:
        """Containers that no `up` of this home vouches for."""
        found = engine.containers(self._place.project)
        if not found:
            return
        self._stack.take_down(look=look)
        names = ", ".join(one.replica for one in found)
        watcher.event(f"ended what an earlier run had left: {names}")

    def _locked(
        self,
        *,
        within_s: float = 120.0,
        busy: str = "another bidkit is still busy here.",
        look: Look = nobody,
    ) -> contextlib.AbstractContextManager[None]:
        return self._place.lock(within_s=within_s, busy=busy, look=look)
