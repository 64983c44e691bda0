"""What is done to a running system: services are scaled and restarted, one at a time."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from pkg.devkit.backend import Say
from pkg.devkit.compose import edge, engine
from pkg.devkit.compose.fleet import Fleet
from pkg.devkit.compose.place import Place
from pkg.devkit.compose.stack import Stack
from pkg.devkit.names import SERVICES
from pkg.devkit.signals import Interrupt, interrupts


class Operations:
    """What is interrupted takes back what it has begun, and raises KeyboardInterrupt."""

    def __init__(self, place: Place, stack: Stack) -> None:
        self._place = place
        self._stack = stack

    def scale(self, replicas: Mapping[str, int], *, say: Say) -> None:
        with self._one_at_a_time() as interrupt:
            for service, number in replicas.items():
                self._scale(self._fleet(service, interrupt), number, say=say)
            self._await_passing(replicas.keys(), interrupt)

    def _scale(self, fleet: Fleet, number: int, *, say: Say) -> None:
        wanted, there = self._stack.desired, fleet.containers()
        self._want(fleet.service, number)
        try:
            fleet.scale(number, say=say)
        except KeyboardInterrupt:
            # First: what cannot be taken back is one too many, and nobody wants it. Fewer are still
            # wanted once one was ended for it.
            if number > wanted.replicas.get(fleet.service, 1) or fleet.still_has(there):
                self._stack.remember(wanted)
            fleet.take_back({one.id for one in there}, say=say)
            raise

    def restart(self, service: str, *, say: Say) -> None:
        # What stands over a store or behind the edge has to come back, if it was there.
        over = {one.service for one in engine.containers(self._place.project) if one.ready}
        with self._one_at_a_time() as interrupt:
            replicas = self._stack.desired.replicas.get(service, 1)
            fleet = self._fleet(service, interrupt)
            # As on processes, a new replica runs the code as it is now.
            if service in SERVICES and replicas and fleet.containers():
                self._stack.renew_images(say=say, look=self._still_wanted(interrupt))
            fleet.restart(replicas, say=say)
            self._await_passing({service} if service in SERVICES else over, interrupt)

    @contextmanager
    def _one_at_a_time(self) -> Iterator[Interrupt]:
        busy = "a service is being scaled or restarted; try again when that is done."
        with (
            self._place.lock("operation", within_s=0, busy=busy),
            interrupts() as interrupt,
        ):
            yield interrupt

    def _want(self, service: str, replicas: int) -> None:
        desired = self._stack.desired
        wanted = {**desired.replicas, service: replicas}
        self._stack.remember(msgspec.structs.replace(desired, replicas=wanted))

    def _fleet(self, service: str, interrupt: Interrupt) -> Fleet:
        return Fleet(service, project=self._stack.project, place=self._place, interrupt=interrupt)

    def _await_passing(self, services: Collection[str], interrupt: Interrupt) -> None:
        still_wanted = self._still_wanted(interrupt)
        edge.await_passing(self._stack.desired, services, still_wanted=still_wanted)

    def _still_wanted(self, interrupt: Interrupt) -> Callable[[], None]:
        def look() -> None:
            interrupt.heed()
            self._place.check_wanted()

        return look
