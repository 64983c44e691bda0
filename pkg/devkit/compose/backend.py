"""The compose backend: what bidkit's verbs come to with containers.

There is no supervisor: Docker restarts what ends, compose knows what belongs to the system, and
each verb looks for itself. A lock in the home keeps them out of each other's way.
"""

import contextlib
import math
import time
from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar

import msgspec

from pkg.devkit.backend import LogLine, Options, Say, Watcher, refuse_change
from pkg.devkit.compose import edge, engine, logs
from pkg.devkit.compose.changes import changes
from pkg.devkit.compose.command import LOOK_EVERY_S, ComposeFailed, Look, nobody
from pkg.devkit.compose.container import Container
from pkg.devkit.compose.fleet import Fleet
from pkg.devkit.compose.interrupt import Interrupt, interrupts
from pkg.devkit.compose.oneoff import run_once
from pkg.devkit.compose.place import Place
from pkg.devkit.compose.shutdown import Shutdown
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.status import system_of
from pkg.devkit.compose.usage import usage
from pkg.devkit.errors import BidkitError, NotReady, NotRunning
from pkg.devkit.names import ARCHIVAL, SERVICES
from pkg.devkit.process.home import Home
from pkg.devkit.readiness import is_settled
from pkg.devkit.system import SystemStatus

READY_WITHIN_S = 120.0
STARTED_WITHIN_S = 1200.0
"""What another `up` may take, which may have to fetch and build images."""

_WATCH_EVERY_S = 1.0
_TRY_AGAIN_AFTER_S = 1.0
_IS_OURS, _WAS_RUNNING, _WAS_READY = "ours", "running", "ready"


class ComposeBackend:
    name: ClassVar[str] = "compose"

    def __init__(self, home: Home) -> None:
        self._place = Place(home.folder)
        self._process_home = home
        self._stack = Stack(self._place)
        self._shutdown = Shutdown(self._place, self._stack)
        self._ours = False
        """Whether this very process started what runs."""

    def up(self, options: Options, *, detach: bool, watcher: Watcher) -> None:
        engine.engine_version()
        engine.compose_version()
        if detach:
            if self._come_up(options, watcher, None) is not _WAS_READY:
                self._see_ready(watcher)
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
            say("All data is deleted." if some else "There was no data to delete.")

    def status(self) -> SystemStatus:
        found = self._running()
        used = usage({one.id: one.pid for one in found if one.pid})
        return system_of(found, self._stack.desired, used)

    def settings(self) -> dict[str, str]:
        self._running()
        return self._stack.settings()

    def scale(self, replicas: Mapping[str, int], *, say: Say) -> None:
        self._running()
        with self._operation() as interrupt:
            for service, number in replicas.items():
                before = self._stack.desired
                self._want(service, number)
                try:
                    self._fleet(service, interrupt).scale(number, say=say)
                except KeyboardInterrupt:
                    if number > before.replicas.get(service, 1):
                        self._stack.remember(before)
                    raise
            self._await_passing(replicas.keys(), interrupt)

    def restart(self, service: str, *, say: Say) -> None:
        found = self._running()
        # What stands over a store or behind the edge has to come back, if it was there.
        over = {one.service for one in found if one.ready}
        with self._operation() as interrupt:
            replicas = self._stack.desired.replicas.get(service, 1)
            self._fleet(service, interrupt).restart(replicas, say=say)
            self._await_passing({service} if service in SERVICES else over, interrupt)

    def logs(self, services: tuple[str, ...], *, last: int, follow: bool) -> Iterator[LogLine]:
        self._running()
        return logs.read(self._stack.project, services, last=last, follow=follow)

    def audit(self, arguments: tuple[str, ...]) -> int:
        return self._run_archival("audit", arguments)

    def restore(self, arguments: tuple[str, ...]) -> int:
        return self._run_archival("restore", arguments)

    def _run_archival(self, command: str, arguments: tuple[str, ...]) -> int:
        self._running()
        return run_once(self._stack.project, ARCHIVAL, command, *arguments)

    def _come_up(self, options: Options, watcher: Watcher, interrupt: Interrupt | None) -> str:
        """How it was found; unless it was ready, it is not yet seen to be."""

        def look() -> None:
            _heed(interrupt)

        busy = "another bidkit is still starting or stopping the system."
        with self._locked(within_s=STARTED_WITHIN_S, busy=busy, look=look):
            look()
            if self._is_up():
                now = self._look()
                refuse_change(options, now, self._stack.settings())
                if now.ready:
                    watcher.already(now)
                    return _WAS_READY
                watcher.event("the system is already running, but not ready")
                # What was stopped by hand is missing until somebody asks for it.
                self._start(watcher, interrupt)
                return _WAS_RUNNING
            self._refuse_others()
            self._end_leftovers(watcher)
            look()
            self._stack.prepare(options, say=watcher.event, look=look)
            look()
            self._ours = True
            self._start(watcher, interrupt)
            return _IS_OURS

    def _start(self, watcher: Watcher, interrupt: Interrupt | None) -> None:
        """Compose gives up on what depends on a store that is not healthy at its first checks."""
        deadline = time.monotonic() + READY_WITHIN_S

        def look() -> None:
            self._still_wanted(interrupt)
            # A store that keeps ending raises NotReady long before compose gives up.
            self._settled(watcher, deadline=math.inf)

        while True:
            try:
                self._stack.start(look)
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
        try:
            found = self._come_up(options, watcher, interrupt)
            if found is not _WAS_READY:
                self._see_ready(watcher, interrupt, keep=found is _WAS_RUNNING)
            if found is _IS_OURS:
                self._tell_changes(watcher, interrupt)
        except (BidkitError, KeyboardInterrupt):
            if not (self._ours and interrupt.stop.is_set()):
                raise
        finally:
            if self._ours:
                self._stop_and_say(watcher, interrupt)

    def _stop_and_say(self, watcher: Watcher, interrupt: Interrupt) -> None:
        def say(line: str) -> None:
            # Whoever looked on may be gone, with the terminal or the pipe.
            with contextlib.suppress(OSError):
                watcher.event(line)

        if self._place.is_wanted:
            say("stopping everything, in order")
        # Else another bidkit is at it; this waits for its lock.
        self._shutdown.run(say, interrupt)
        say("Everything is stopped.")

    def _see_ready(
        self, watcher: Watcher, interrupt: Interrupt | None = None, *, keep: bool = True
    ) -> None:
        """`keep` tells whether the system goes on when it does not get ready."""
        deadline = time.monotonic() + READY_WITHIN_S
        try:
            while not (now := self._settled(watcher, deadline=deadline)):
                if interrupt and interrupt.stop.wait(LOOK_EVERY_S):
                    return
                time.sleep(LOOK_EVERY_S)
            self._await_passing(SERVICES, interrupt)
        except NotReady as error:
            if not keep:
                raise
            raise NotReady(
                f"{error} Everything else keeps running; `bidkit down` stops it."
            ) from error
        watcher.ready(now)

    def _await_passing(self, services: Collection[str], interrupt: Interrupt | None) -> None:
        edge.await_passing(
            self._stack.desired, services, still_wanted=lambda: self._still_wanted(interrupt)
        )

    def _settled(self, watcher: Watcher, *, deadline: float) -> SystemStatus | None:
        now = self._look()
        settled = is_settled(now, watcher, deadline=deadline, last_words=self._last_words)
        return now if settled else None

    def _tell_changes(self, watcher: Watcher, interrupt: Interrupt) -> None:
        """Until somebody stops the system; an engine that is restarted meanwhile does not."""
        before: list[Container] | None = None
        silent = False
        while not interrupt.stop.wait(_WATCH_EVERY_S) and self._place.is_wanted:
            try:
                now = engine.containers(self._place.project)
            except BidkitError as error:
                if not silent:
                    watcher.event(f"the engine does not answer: {error}")
                silent = True
                continue
            if silent:
                watcher.event("the engine answers again")
                silent = False
            for line in changes(now if before is None else before, now):
                watcher.event(line)
            before = now

    def _running(self) -> list[Container]:
        """Raises NotRunning."""
        found = engine.containers(self._place.project) if self._place.running.exists() else []
        if not found:
            raise NotRunning("nothing is running; `bidkit up` starts the system.")
        return found

    def _still_wanted(self, interrupt: Interrupt | None = None) -> None:
        """Raises BidkitError when somebody stops the system, KeyboardInterrupt when we are."""
        _heed(interrupt)
        if not self._place.is_wanted:
            raise BidkitError("the system was stopped meanwhile.")

    def _is_up(self) -> bool:
        return self._place.running.exists() and bool(engine.containers(self._place.project))

    def _look(self) -> SystemStatus:
        return system_of(engine.containers(self._place.project), self._stack.desired, {})

    def _last_words(self, replica: str) -> str | None:
        for one in engine.containers(self._place.project):
            if one.replica == replica:
                lines = engine.tail(one.id, 1)
                return lines[0] if lines else None
        return None

    def _refuse_others(self) -> None:
        """Raises BidkitError when this home's system runs on processes."""
        with self._process_home.lock() as free:
            if not free:
                raise BidkitError(
                    "the system of this home runs on processes; `bidkit down` stops it."
                )

    def _end_leftovers(self, watcher: Watcher) -> None:
        """Containers that no `up` of this home vouches for."""
        found = engine.containers(self._place.project)
        if not found:
            return
        self._stack.project.down(volumes=False)
        names = ", ".join(one.replica for one in found)
        watcher.event(f"ended what an earlier run had left: {names}")

    def _want(self, service: str, replicas: int) -> None:
        desired = self._stack.desired
        wanted = {**desired.replicas, service: replicas}
        self._stack.remember(msgspec.structs.replace(desired, replicas=wanted))

    def _fleet(self, service: str, interrupt: Interrupt) -> Fleet:
        return Fleet(service, project=self._stack.project, place=self._place, interrupt=interrupt)

    @contextlib.contextmanager
    def _operation(self) -> Iterator[Interrupt]:
        """Of which there is one at a time; it takes back what it began when it is interrupted."""
        busy = "a service is being scaled or restarted; try again when that is done."
        with (
            self._place.lock("operation", within_s=0, busy=busy),
            interrupts() as interrupt,
        ):
            yield interrupt

    def _locked(
        self,
        *,
        within_s: float = 120.0,
        busy: str = "another bidkit is still busy here.",
        look: Look = nobody,
    ) -> contextlib.AbstractContextManager[None]:
        return self._place.lock(within_s=within_s, busy=busy, look=look)


def _heed(interrupt: Interrupt | None) -> None:
    """Raises KeyboardInterrupt when we were asked to stop."""
    if interrupt and interrupt.stop.is_set():
        raise KeyboardInterrupt
