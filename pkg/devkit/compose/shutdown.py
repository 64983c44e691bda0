"""Stopping a system in order; its state is cleared only when all containers are gone."""

import contextlib

from pkg.devkit.backend import Say
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import STOPPING, StateDir
from pkg.devkit.errors import BidkitError
from pkg.devkit.signals import Cancellation, Check


class Shutdown:
    def __init__(self, state_dir: StateDir, stack: Stack) -> None:
        self._state_dir = state_dir
        self._stack = stack

    def run(self, say: Say, token: Cancellation) -> bool:
        """Returns whether there was anything to stop. A cancellation breaks it off.

        If the engine fails, its error is raised and the system still counts as running.
        """
        if not self._state_dir.folder.exists() and not self._stack.containers():
            return False

        return self._run(_Progress(self._stack, say, token.check), check=token.check)

    def run_own(self, run: str, say: Say, token: Cancellation) -> bool:
        """Stops only the system with this run id; returns False when it is gone already.

        A second Ctrl-C kills what is still draining.
        """
        hurried = False

        def hurry() -> None:
            nonlocal hurried
            if token.hurried.is_set() and not hurried:
                self._stack.project.kill()
                hurried = True  # after the kill: if it failed, the next call tries again
                say("hurrying: what has not ended yet is killed")

        def still_ours() -> None:
            if not self._state_dir.runs(run):
                raise _NotOurs

        try:
            still_ours()
            self._run(_Progress(self._stack, say, hurry), check=still_ours)
        except _NotOurs:
            return False
        return True

    def _run(self, progress: "_Progress", *, check: Check) -> bool:
        within_s = self._stack.project.ends_within_s
        with contextlib.ExitStack() as stopping:
            stopping.enter_context(self._state_dir.lock(STOPPING, within_s=within_s, check=check))
            check()  # another bidkit may just have stopped it
            with self._state_dir.lock(within_s=within_s, check=check):
                check()
                left = self._stack.containers()
                if left or self._stack.networks():
                    progress.report_until_removed()
                self._state_dir.running.unlink(missing_ok=True)
                stopping.close()  # before the lock: an `up` waiting for it may start
                return bool(left)


class _NotOurs(Exception):  # noqa: N818 - as in errors.py
    """The system to be stopped is gone, or another has taken its place."""


class _Progress:
    """Reports containers as they stop, while compose takes everything down."""

    def __init__(self, stack: Stack, say: Say, check: Check) -> None:
        self._stack = stack
        self._say = say
        self._check = check
        self._shown: set[str] = set()

    def report_until_removed(self) -> None:
        self._shown = self._alive()
        self._stack.take_down(check=self._look)
        self._report()
        if left := self._stack.containers():
            names = ", ".join(one.replica for one in left)
            raise BidkitError(f"{names} could not be removed; `bidkit down` tries again.")

    def _look(self) -> None:
        # Compose fails by itself if the engine is gone; a failed query alone stops nothing.
        with contextlib.suppress(BidkitError):
            self._check()
            self._report()

    def _report(self) -> None:
        alive = self._alive()
        for name in sorted(self._shown - alive):
            self._say(f"{name} is stopped")
        self._shown = alive

    def _alive(self) -> set[str]:
        return {one.replica for one in self._stack.containers() if one.alive}
