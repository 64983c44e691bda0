"""The end of a system: everything stopped in order, and forgotten only when it is gone."""

import contextlib

from pkg.devkit.backend import Say
from pkg.devkit.compose import engine
from pkg.devkit.compose.command import Look, nobody
from pkg.devkit.compose.place import Place
from pkg.devkit.compose.stack import Stack
from pkg.devkit.errors import BidkitError
from pkg.devkit.signals import Interrupt

_BUSY = "another bidkit is still busy here."


class Shutdown:
    def __init__(self, place: Place, stack: Stack) -> None:
        self._place = place
        self._stack = stack

    def run(self, say: Say) -> bool:
        """Whether there was anything to stop.

        Where the engine fails, the error is raised and the home knows of its system as before.
        """
        if not self._place.folder.exists() and not engine.containers(self._place.project):
            return False
        return self._run(say, None, still_ours=nobody)

    def run_own(self, run: str, say: Say, interrupt: Interrupt) -> bool:
        """As `run`, but nothing is asked of anybody when the system here is not, or no more, the
        one that began with the mark `run`: False then, as soon as that one is gone.
        """

        def still_ours() -> None:
            if not self._place.runs(run):
                raise _NotOurs

        try:
            still_ours()
            self._run(say, interrupt, still_ours=still_ours)
        except _NotOurs:
            return False
        return True

    def _run(self, say: Say, interrupt: Interrupt | None, *, still_ours: Look) -> bool:
        within_s = self._stack.project.ends_within_s
        with contextlib.ExitStack() as asking:
            asking.enter_context(
                self._place.being_stopped(within_s=within_s, busy=_BUSY, look=still_ours)
            )
            still_ours()  # whoever was at it may just have done it
            with self._place.lock(within_s=within_s, busy=_BUSY, look=still_ours):
                still_ours()
                left = engine.containers(self._place.project)
                if left or engine.networks(self._place.project):
                    _Look(self._place, self._stack, say, interrupt).while_all_ends()
                self._place.running.unlink(missing_ok=True)
                asking.close()  # first: an `up` that waits for the lock is wanted
                return bool(left)


class _NotOurs(Exception):  # noqa: N818 - as in errors.py
    """The system that was to be stopped is gone."""


class _Look:
    """What is told while compose takes everything down."""

    def __init__(self, place: Place, stack: Stack, say: Say, interrupt: Interrupt | None) -> None:
        self._place = place
        self._stack = stack
        self._say = say
        self._interrupt = interrupt
        self._hurried = False
        self._shown = self._alive()

    def while_all_ends(self) -> None:
        self._stack.take_down(look=self._look)
        self._tell()
        if left := engine.containers(self._place.project):
            names = ", ".join(one.replica for one in left)
            raise BidkitError(f"{names} could not be removed; `bidkit down` tries again.")

    def _look(self) -> None:
        # What the engine cannot tell just now is no reason to leave off; compose tells if it is.
        with contextlib.suppress(BidkitError):
            self._tell()

    def _tell(self) -> None:
        if self._interrupt and self._interrupt.hurry.is_set() and not self._hurried:
            self._stack.project.kill()
            self._hurried = True  # only now: what the engine did not do is asked of it again
            self._say("hurrying: what has not ended yet is killed")
        alive = self._alive()
        for name in sorted(self._shown - alive):
            self._say(f"{name} is stopped")
        self._shown = alive

    def _alive(self) -> set[str]:
        return {one.replica for one in engine.containers(self._place.project) if one.alive}
