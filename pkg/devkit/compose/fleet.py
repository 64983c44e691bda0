"""Scaling and rolling restarts of one service; restarts of a store or the edge."""

import contextlib
import time
from collections.abc import Callable

from pkg.devkit.backend import Say
from pkg.devkit.compose import edge, logs
from pkg.devkit.compose.container import Container
from pkg.devkit.compose.project import Project
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import NotReady
from pkg.devkit.home import Home
from pkg.devkit.names import SERVICES
from pkg.devkit.signals import Check, no_check

READY_WITHIN_S = 90.0

_POLL_EVERY_S = 0.25


class Fleet:
    """The containers of a service, or the only one of a store or the edge.

    `check` is called while waiting: it raises when the user interrupts or the system is stopped.
    """

    def __init__(
        self, service: str, *, project: Project, state_dir: StateDir, check: Check
    ) -> None:
        self.service = service
        self._project = project
        self._state_dir = state_dir
        self._check = check

    def containers(self) -> list[Container]:
        return [one for one in self._project.containers() if one.service == self.service]

    def scale(self, replicas: int, *, say: Say) -> None:
        """Leaves it at what was reached when `check` raises; the next call goes on from there."""
        self._shed(replicas, say=say)
        self._step(lambda: self._up(replicas))
        self._await(lambda found: len(found) == replicas and all(one.ready for one in found))
        say(f"{self.service} has {replicas} ready")

    def restart(self, replicas: int, *, say: Say) -> None:
        """Replaces each replica in turn; a service has `replicas` afterwards.

        When `check` raises, the replacement just started is removed again.
        """
        if self.service not in SERVICES:
            say(f"{self.service} stops and starts again")
            self._step(lambda: self._project.restart(self.service, check=self._check))
            self._await(lambda found: any(one.ready for one in found))
            say(f"{self.service} is ready")
            return
        self._shed(replicas, say=say)
        old = self.containers()
        if not old:
            say(f"{self.service} has 0 replicas; there is nothing to restart")
            return
        for one in old:
            self._replace(one, among=max(replicas, len(old)), say=say)
        say(f"{self.service} is restarted")

    def _shed(self, replicas: int, *, say: Say) -> None:
        """Removes surplus replicas, unready ones first, among them any left by an earlier call.

        Compose would remove them too, but would not keep their logs.
        """
        found = sorted(self.containers(), key=lambda one: (one.ready, -one.number))
        surplus = found[: max(len(found) - replicas, 0)]
        for one in surplus:
            with contextlib.suppress(OSError):  # the terminal may be closed
                say(f"{one.replica} is one too many and stops")
        if surplus:
            self._step(lambda: self._remove({one.id for one in surplus}))

    def _replace(self, old: Container, *, among: int, say: Say) -> None:
        before = {one.id for one in self.containers()}
        try:
            self._step(lambda: self._up(among + 1))
            new = [one for one in self.containers() if one.id not in before]
            for one in new:
                say(f"{one.replica} starts in place of {old.replica}")
            ours = {one.id for one in new}
            self._await(lambda found: _are_ready(found, ours))
            # The engine finds it ready before the edge does; the old one has to serve until then.
            new = [one for one in self.containers() if one.id in ours]
            edge.await_found(self._project, new, check=self._check)
            self._check()
            for one in new:
                say(f"{one.replica} is ready; {old.replica} drains")
        except BaseException:  # also when `say` has no reader any more
            self._roll_back(before, say=say)
            raise
        # The point of no return: once the old one was told to stop, it is removed.
        with self._lock():
            self._remove({old.id})
        self._check()

    def _up(self, replicas: int) -> None:
        self._project.up({self.service: replicas}, check=self._check)

    def _roll_back(self, before: set[str], *, say: Say) -> None:
        with self._lock():
            new = [one for one in self.containers() if one.id not in before]
            for one in new:
                with contextlib.suppress(OSError):  # the terminal may be closed
                    log = Home(self._state_dir.home).log(one.replica)
                    say(f"{one.replica} is removed again; its log is {log}")
            self._remove({one.id for one in new})

    def _remove(self, ids: set[str]) -> None:
        """Lets them drain, and keeps their logs."""
        gone = [one for one in self.containers() if one.id in ids]
        self._project.engine.stop(self._project, [one.id for one in gone])
        logs.keep(self._project.engine, gone, Home(self._state_dir.home))
        self._project.engine.remove(self._project, [one.id for one in gone])

    def _await(self, fact: Callable[[list[Container]], bool]) -> None:
        """Raises NotReady with the replicas that are not ready."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not fact(found := self.containers()):
            self._check()
            if time.monotonic() > deadline:
                waiting = [one for one in found if not one.ready]
                why = ", ".join(f"{one.replica}: {one.why or one.phase}" for one in waiting)
                raise NotReady(
                    f"{self.service} is not ready within {READY_WITHIN_S:g} s"
                    f" ({why or f'{len(found)} containers'})."
                )
            time.sleep(_POLL_EVERY_S)

    def _step(self, work: Callable[[], None]) -> None:
        """Starts nothing in a system that is being stopped."""
        with self._lock(self._check):
            self._check()
            work()

    def _lock(self, check: Check = no_check) -> contextlib.AbstractContextManager[None]:
        return self._state_dir.lock(within_s=self._project.ends_within_s, check=check)


def _are_ready(found: list[Container], ids: set[str]) -> bool:
    return bool(ids) and ids <= {one.id for one in found if one.ready}
