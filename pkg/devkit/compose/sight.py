"""The system as it is looked at while it comes up."""

import time

from pkg.devkit.backend import Watcher
from pkg.devkit.compose import engine
from pkg.devkit.compose.place import Place
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.status import system_of
from pkg.devkit.errors import BidkitError, NotReady
from pkg.devkit.readiness import is_settled
from pkg.devkit.system import SystemStatus


class Sight:
    def __init__(self, place: Place, stack: Stack) -> None:
        self._project = place.project
        self._stack = stack

    def now(self) -> SystemStatus:
        return system_of(engine.containers(self._project), self._stack.desired, {})

    def settled(
        self, watcher: Watcher, *, deadline: float, forgiving_until: float
    ) -> SystemStatus | None:
        """None until everything is ready, and when the engine cannot tell just now.

        Raises NotReady for a replica that keeps ending, or when the `deadline` has passed; what the
        engine fails with, once it is `forgiving_until` then.
        """
        try:
            now = self.now()
            settled = is_settled(now, watcher, deadline=deadline, last_words=self._last_words)
        except NotReady:
            raise
        except BidkitError:
            if time.monotonic() > forgiving_until:
                raise
            return None
        return now if settled else None

    def _last_words(self, replica: str) -> str | None:
        for one in engine.containers(self._project):
            if one.replica == replica:
                lines = engine.tail(one.id, 1)
                return lines[0] if lines else None
        return None
