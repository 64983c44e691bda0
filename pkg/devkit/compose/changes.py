"""What happens to containers while a foreground `up` looks on."""

from collections.abc import Iterator, Sequence

from pkg.devkit.backend import Watcher
from pkg.devkit.compose import engine
from pkg.devkit.compose.container import Container
from pkg.devkit.errors import BidkitError


class News:
    """What has come to pass from one time to the next; an engine that is silent is told once."""

    def __init__(self, project: str, watcher: Watcher) -> None:
        self._project = project
        self._watcher = watcher
        self._before: list[Container] | None = None
        self._silent = False

    def tell(self) -> None:
        try:
            now = engine.containers(self._project)
        except BidkitError as error:
            if not self._silent:
                self._watcher.event(f"the engine does not answer: {error}")
            self._silent = True
            return
        if self._silent:
            self._watcher.event("the engine answers again")
            self._silent = False
        for line in changes(now if self._before is None else self._before, now):
            self._watcher.event(line)
        self._before = now


def changes(before: Sequence[Container], now: Sequence[Container]) -> Iterator[str]:
    """What has come to pass between two looks, a line each."""
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
