"""The compose backend: bidkit's verbs on containers.

There is no supervisor: Docker restarts containers, and each verb queries the engine. Locks in the
home keep verbs from interfering with each other.
"""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import ClassVar

from pkg.devkit import log_files
from pkg.devkit.backend import STOPPING, BackendName, LogLine, Options, Say, Watcher, refuse_change
from pkg.devkit.compose import edge, logs
from pkg.devkit.compose.changes import Changes
from pkg.devkit.compose.command import CHECK_EVERY_S, ComposeFailed
from pkg.devkit.compose.container import Container
from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.oneoff import run_once
from pkg.devkit.compose.operations import Operations
from pkg.devkit.compose.readiness import Readiness
from pkg.devkit.compose.shutdown import Shutdown
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.compose.status import system_of
from pkg.devkit.compose.usage import usage
from pkg.devkit.docker_cli import NoEngine
from pkg.devkit.errors import BidkitError, NotReady, NotRunning, PortTaken
from pkg.devkit.home import Home
from pkg.devkit.names import ARCHIVAL, EDGE, SERVICES, STORES
from pkg.devkit.nats_users import RESTORE
from pkg.devkit.signals import Cancellation, Check, cancellation
from pkg.devkit.system import SystemStatus

READY_WITHIN_S = 120.0
STARTED_WITHIN_S = 1200.0
"""How long another `up` may take, which may have to pull and build images."""

_DELETED_WITHIN_S = 120.0
_WATCH_EVERY_S = 1.0
_TRY_AGAIN_AFTER_S = 1.0
_IS_OURS, _WAS_RUNNING, _WAS_READY = "ours", "running", "ready"


class ComposeBackend:
    name: ClassVar[BackendName] = BackendName.COMPOSE
    parts: ClassVar[tuple[str, ...]] = (*SERVICES, *STORES, EDGE)

    def __init__(self, home: Home, engine: Engine | None = None) -> None:
        self._state_dir = StateDir(home.folder)
        self._home = home
        self._engine = engine or Engine()
        self._stack = Stack(self._state_dir, self._engine)
        self._readiness = Readiness(self._stack)
        self._shutdown = Shutdown(self._state_dir, self._stack)
        self._operations = Operations(self._state_dir, self._stack)
        self._run: str | None = None
        """The id of the system that this process has started, if it has."""

    def up(self, options: Options, *, detach: bool, watcher: Watcher) -> None:
        self._engine.check_versions()
        with _interruptible() as token:
            if not detach:
                self._foreground(options, watcher, token)
            elif self._come_up(options, watcher, token) is not _WAS_READY:
                self._await_ready(watcher, token, keep=True)

    def down(self, *, volumes: bool, say: Say) -> None:
        with _interruptible() as token:
            was_running = self._shutdown.run(say, token)
            say("Everything is stopped." if was_running else "Nothing was running.")
            if volumes:
                self._delete_data(say, token)

    def _delete_data(self, say: Say, token: Cancellation) -> None:
        with self._state_dir.lock(within_s=_DELETED_WITHIN_S, check=token.check):
            if self._state_dir.running.exists():
                raise BidkitError("somebody has just started the system again; nothing deleted.")
            has_data = self._stack.has_data()
            if has_data:
                self._stack.project.down(volumes=True, check=token.check)
            self._stack.forget()
        none = "There was no data on compose to delete."
        say("All data on compose is deleted." if has_data else none)

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
            # These are complete; there is nothing to follow.
            return log_files.read(self._home, services, last=last, follow=False)
        return logs.read(self._stack.project, services, last=last, follow=follow)

    def audit(self, arguments: tuple[str, ...]) -> int:
        return self._run_once(ARCHIVAL, "audit", *arguments)

    def restore(self, arguments: tuple[str, ...]) -> int:
        return self._run_once(RESTORE, "restore", *arguments)

    def redrive(self, arguments: tuple[str, ...]) -> int:
        return self._run_once(ARCHIVAL, "redrive", *arguments)

    def _run_once(self, service: str, *arguments: str) -> int:
        self._running()
        return run_once(self._stack.project, service, *arguments)

    def _come_up(self, options: Options, watcher: Watcher, token: Cancellation) -> str:
        """Returns whether the system was ready, running, or started by us.

        Only "ready" has been verified.
        """

        def check() -> None:
            token.check()
            self._state_dir.check_not_being_stopped()

        if self._is_up() and (surplus := _surplus(self._readiness.now())):
            watcher.event("finishing a `scale` that was interrupted")
            self._operations.scale(surplus, say=watcher.event)
        busy = "another bidkit is still starting or stopping the system."
        with self._state_dir.lock(within_s=STARTED_WITHIN_S, busy=busy, check=token.check):
            token.check()
            if self._is_up():
                now = self._readiness.now()
                refuse_change(options, now, self._stack.settings())
                if now.ready:
                    watcher.already(now)
                    return _WAS_READY
                watcher.event("the system is already running, but not ready")
                # Docker does not restart what was stopped by hand; `up` does.
                self._start(watcher, token, was_running=True)
                return _WAS_RUNNING
            self._refuse_others()
            self._end_leftovers(watcher, check)
            check()
            self._stack.prepare(options, say=watcher.event, check=check)
            check()
            self._run = self._state_dir.begin_run()
            self._start(watcher, token, was_running=False)
            return _IS_OURS

    def _start(self, watcher: Watcher, token: Cancellation, *, was_running: bool) -> None:
        """Repeats `compose up`, which fails when a store is not healthy at its first checks."""
        deadline = time.monotonic() + READY_WITHIN_S

        def check() -> None:
            self._check_wanted(token)
            # NotReady about a store that keeps ending comes long before compose gives up. Failures
            # of the engine are left to compose to report.
            self._readiness.settled(watcher, deadline=math.inf, forgiving_until=deadline)

        while True:
            try:
                self._stack.start(check, was_running=was_running, check_undo=token.check)
            except ComposeFailed as error:
                if not (error.is_impatient and self._stack.containers()):
                    raise
                if time.monotonic() > deadline:
                    watcher.event(str(error))  # the wait for readiness tells more
                    return
                time.sleep(_TRY_AGAIN_AFTER_S)
            else:
                return

    def _foreground(self, options: Options, watcher: Watcher, token: Cancellation) -> None:
        was_ready = False
        try:
            found = self._come_up(options, watcher, token)
            if found is not _WAS_READY:
                self._await_ready(watcher, token, keep=found is _WAS_RUNNING)
            was_ready = True
            if found is _IS_OURS:
                self._report_changes(watcher, token)
        except PortTaken:
            self._run = None  # it has been taken down already
            raise
        except (BidkitError, KeyboardInterrupt) as error:
            if not (self._run and token.requested.is_set()):
                raise
            if not was_ready:
                raise KeyboardInterrupt from error
        finally:
            if self._run:
                self._stop_and_say(self._run, watcher, token)

    def _stop_and_say(self, run: str, watcher: Watcher, token: Cancellation) -> None:
        def say(line: str) -> None:
            # The terminal or the pipe may be closed.
            with contextlib.suppress(OSError):
                watcher.event(line)

        if self._is_ours:
            say(STOPPING)
        # Otherwise another bidkit stops it, or has stopped it: this waits until it is gone.
        was_ours = self._shutdown.run_own(run, say, token)
        say("Everything is stopped." if was_ours else "another bidkit has stopped it.")

    def _await_ready(self, watcher: Watcher, token: Cancellation, *, keep: bool) -> None:
        """`keep` tells whether the system keeps running if it does not get ready."""
        deadline = time.monotonic() + READY_WITHIN_S

        def check() -> None:
            self._check_wanted(token)

        try:
            while not (
                now := self._readiness.settled(watcher, deadline=deadline, forgiving_until=deadline)
            ):
                check()
                time.sleep(CHECK_EVERY_S)
            edge.await_passing(self._stack.desired, check=check)
        except NotReady as error:
            if not keep:
                raise
            raise NotReady(
                f"{error} Everything else keeps running; `bidkit down` stops it."
            ) from error
        watcher.ready(now)

    def _check_wanted(self, token: Cancellation) -> None:
        token.check()
        self._state_dir.check_wanted(self._run)

    @property
    def _is_ours(self) -> bool:
        return bool(self._run and self._state_dir.runs(self._run) and self._state_dir.is_wanted)

    def _report_changes(self, watcher: Watcher, token: Cancellation) -> None:
        """Until somebody stops the system; a restart of the engine does not count."""
        changes = Changes(self._stack.project, watcher)
        while not token.requested.wait(_WATCH_EVERY_S) and self._is_ours:
            changes.report()

    def _running(self) -> list[Container]:
        """Raises NotRunning."""
        found = self._stack.containers() if self._state_dir.running.exists() else []
        if not found:
            raise NotRunning("nothing is running; `bidkit up` starts the system.")
        return found

    def _is_up(self) -> bool:
        return self._state_dir.running.exists() and bool(self._stack.containers())

    def _refuse_others(self) -> None:
        """Raises BidkitError when this home's system runs on processes."""
        with self._home.lock() as free:
            if not free:
                raise BidkitError(
                    "the system of this home runs on processes; `bidkit down` stops it."
                )

    def _end_leftovers(self, watcher: Watcher, check: Check) -> None:
        """Takes down containers that are here although no `up` of this home is in effect."""
        found = self._stack.containers()
        if not found:
            return
        self._stack.take_down(check=check)
        names = ", ".join(one.replica for one in found)
        watcher.event(f"ended what an earlier run had left: {names}")


@contextlib.contextmanager
def _interruptible() -> Iterator[Cancellation]:
    """As `cancellation`. Where the engine hangs, a query times out before anybody looks at the
    token; then the interrupt is what the user should see.
    """
    with cancellation() as token:
        try:
            yield token
        except NoEngine:
            token.check()
            raise


def _surplus(now: SystemStatus) -> dict[str, int]:
    """The desired number of replicas of each service that has more."""
    return {
        one.service: one.desired
        for one in now.services
        if one.service in SERVICES and len(one.replicas) > one.desired
    }
