"""Reports what happens to containers while a foreground `up` runs."""

from collections.abc import Iterator, Sequence

from pkg.devkit.backend import Watcher
from pkg.devkit.compose.container import Container
from pkg.devkit.compose.project import Project
from pkg.devkit.errors import BidkitError


class Changes:
    """Reports what changed since the last call, and once when the engine stops answering."""

    def __init__(self, project: Project, watcher: Watcher) -> None:
        self._project = project
        self._watcher = watcher
        self._before: list[Container] | None = None
        self._silent = False

    def report(self) -> None:
        try:
            now = self._project.containers()
        except BidkitError as error:
            if not self._silent:
                self._watcher.event(f"the engine does not answer: {error}")
            self._silent = True
            return
        if self._silent:
            self._watcher.event("the engine answers again")
            self._silent = False
        for line in changes_between(now if self._before is None else self._before, now):
            self._watcher.event(line)
        self._before = now


def changes_between(before: Sequence[Container], now: Sequence[Container]) -> Iterator[str]:
    """One line for each change."""
    earlier = {one.id: one for one in before}
    for one in now:
        was = earlier.pop(one.id, None)
        if was is None:
            yield f"{one.replica} starts"
        elif one.restarts > was.restarts:
            yield f"{one.replica} ended and was started again (restart {one.restarts})"
        elif one.ready and not was.ready:
            yield f"{one.replica} is ready"
        elif was.ready and not one.ready:
            yield f"{one.replica} is {one.phase}: {one.why or 'no reason known'}"
    for one in earlier.values():
        yield f"{one.replica} is gone"
