"""The system's status while it starts."""

import time

from pkg.devkit.backend import Watcher
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.status import system_of
from pkg.devkit.errors import BidkitError, NotReady
from pkg.devkit.readiness import is_settled
from pkg.devkit.system import SystemStatus


class Readiness:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def now(self) -> SystemStatus:
        return system_of(self._stack.containers(), self._stack.desired, {})

    def settled(
        self, watcher: Watcher, *, deadline: float, forgiving_until: float
    ) -> SystemStatus | None:
        """Returns None until everything is ready.

        Raises NotReady for a replica that keeps ending, or after the `deadline`. Failures of the
        engine are raised only after `forgiving_until`.
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
        for one in self._stack.containers():
            if one.replica == replica:
                lines = self._stack.engine.tail(one.id, 1)
                return lines[0] if lines else None
        return None
