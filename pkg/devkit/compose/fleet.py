"""Services scaled, and replaced one replica after the other; stores and the edge restarted."""

import contextlib
import time
from collections.abc import Callable, Sequence

from pkg.devkit.backend import Say
from pkg.devkit.compose import edge, engine, logs
from pkg.devkit.compose.command import Look, nobody
from pkg.devkit.compose.container import Container
from pkg.devkit.compose.place import Place
from pkg.devkit.compose.project import Project
from pkg.devkit.errors import NotReady
from pkg.devkit.home import Home
from pkg.devkit.names import SERVICES
from pkg.devkit.signals import Interrupt

READY_WITHIN_S = 90.0

_LOOK_EVERY_S = 0.25


class Fleet:
    """The containers of one service, or of a store or the edge, of which there is one.

    An interrupt takes back what a restart has begun, and then raises KeyboardInterrupt.
    """

    def __init__(
        self, service: str, *, project: Project, place: Place, interrupt: Interrupt
    ) -> None:
        self.service = service
        self._project = project
        self._place = place
        self._interrupt = interrupt

    def containers(self) -> list[Container]:
        found = engine.containers(self._project.name)
        return [one for one in found if one.service == self.service]

    def still_has(self, before: Sequence[Container]) -> bool:
        """Whether all of these that were alive are."""
        alive = {one.id for one in self.containers() if one.alive}
        return all(one.id in alive for one in before if one.alive)

    def scale(self, replicas: int, *, say: Say) -> None:
        """What it adds stays when it is interrupted; see `take_back`. What it ends is ended."""
        self._shed(replicas, say=say)
        self._step(lambda: self._up(replicas))
        self._await(lambda found: len(found) == replicas and all(one.ready for one in found))
        say(f"{self.service} has {replicas} ready")

    def restart(self, replicas: int, *, say: Say) -> None:
        """Of a service, `replicas` are there afterwards, whatever an earlier call has left."""
        if self.service not in SERVICES:
            say(f"{self.service} stops and starts again")
            self._step(lambda: self._project.restart(self.service, look=self._still_wanted))
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
        """Compose would remove them too, but nothing of what they said would be kept.

        A call that was killed may have left more than were desired: what is not ready goes first.
        """
        found = sorted(self.containers(), key=lambda one: (one.ready, -one.number))
        surplus = found[: max(len(found) - replicas, 0)]
        for one in surplus:
            with contextlib.suppress(OSError):  # the terminal may be gone
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
            # Ready to the engine is not yet found by the edge, which the old one has to outlive.
            new = [one for one in self.containers() if one.id in ours]
            edge.await_found(self._project.name, new, still_wanted=self._still_wanted)
            self._still_wanted()
            for one in new:
                say(f"{one.replica} is ready; {old.replica} drains")
        except BaseException:  # also what `say` raises when nobody reads any more
            self.take_back(before, say=say)
            raise
        # From here on there is no way back: what has been asked to end is taken away.
        with self._lock():
            self._remove({old.id})
        self._still_wanted()

    def _up(self, replicas: int) -> None:
        self._project.up({self.service: replicas}, look=self._still_wanted)

    def take_back(self, before: set[str], *, say: Say) -> None:
        """Ends and removes what was not there before."""
        with self._lock():
            new = [one for one in self.containers() if one.id not in before]
            for one in new:
                with contextlib.suppress(OSError):  # the terminal may be gone
                    log = Home(self._place.home).log(one.replica)
                    say(f"{one.replica} is taken away again; its log is {log}")
            self._remove({one.id for one in new})

    def _remove(self, ids: set[str]) -> None:
        """Each has drained by then, and what it said, to its end, is in the home's logs."""
        gone = [one for one in self.containers() if one.id in ids]
        self._project.end([one.id for one in gone])
        logs.keep(gone, Home(self._place.home))
        self._project.remove([one.id for one in gone])

    def _await(self, fact: Callable[[list[Container]], bool]) -> None:
        """Raises NotReady with what stands in the way."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not fact(found := self.containers()):
            self._still_wanted()
            if time.monotonic() > deadline:
                waiting = [one for one in found if not one.ready]
                why = ", ".join(f"{one.replica}: {one.why or one.phase}" for one in waiting)
                raise NotReady(
                    f"{self.service} has not come to what was asked in {READY_WITHIN_S:g} s"
                    f" ({why or f'{len(found)} containers'})."
                )
            time.sleep(_LOOK_EVERY_S)

    def _step(self, work: Callable[[], None]) -> None:
        """Nothing is started in a system that somebody stops."""
        with self._lock(look=self._still_wanted):
            self._still_wanted()
            work()

    def _lock(self, look: Look = nobody) -> contextlib.AbstractContextManager[None]:
        within_s, busy = self._project.ends_within_s, "another bidkit is still busy here."
        return self._place.lock(within_s=within_s, busy=busy, look=look)

    def _still_wanted(self) -> None:
        self._interrupt.heed()
        self._place.check_wanted()


def _are_ready(found: list[Container], ids: set[str]) -> bool:
    return bool(ids) and ids <= {one.id for one in found if one.ready}
