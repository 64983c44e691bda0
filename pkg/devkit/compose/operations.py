"""Scaling and restarting within a running system, one operation at a time."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from pkg.devkit.backend import Say
from pkg.devkit.compose import edge
from pkg.devkit.compose.fleet import Fleet
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.names import SERVICES
from pkg.devkit.signals import Check, cancellation


class Operations:
    """An interrupted operation raises KeyboardInterrupt."""

    def __init__(self, state_dir: StateDir, stack: Stack) -> None:
        self._state_dir = state_dir
        self._stack = stack

    def scale(self, replicas: Mapping[str, int], *, say: Say) -> None:
        """When interrupted, the new numbers stay desired: the next call gets there."""
        with self._one_at_a_time() as check:
            for service, number in replicas.items():
                self._desire(service, number)
                self._fleet(service, check).scale(number, say=say)
            self._await_passing(replicas.keys(), check)

    def restart(self, service: str, *, say: Say) -> None:
        """When interrupted, a replacement that has not taken over yet is removed again."""
        # A restart of a store or the edge interrupts these; they have to recover.
        ready = {one.service for one in self._stack.containers() if one.ready}
        with self._one_at_a_time() as check:
            replicas = self._stack.desired.replicas.get(service, 1)
            fleet = self._fleet(service, check)
            # As on the process backend, a restart picks up the current code.
            if service in SERVICES and replicas and fleet.containers():
                self._stack.renew_images(say=say, check=check)
            fleet.restart(replicas, say=say)
            self._await_passing({service} if service in SERVICES else ready, check)

    @contextmanager
    def _one_at_a_time(self) -> Iterator[Check]:
        busy = "a service is being scaled or restarted; try again when that is done."
        with (
            self._state_dir.lock("operation", within_s=0, busy=busy),
            cancellation() as token,
        ):

            def check() -> None:
                token.check()
                self._state_dir.check_wanted()

            yield check

    def _desire(self, service: str, number: int) -> None:
        desired = self._stack.desired
        replicas = {**desired.replicas, service: number}
        self._stack.remember(msgspec.structs.replace(desired, replicas=replicas))

    def _fleet(self, service: str, check: Check) -> Fleet:
        return Fleet(service, project=self._stack.project, state_dir=self._state_dir, check=check)

    def _await_passing(self, services: Collection[str], check: Check) -> None:
        edge.await_passing(self._stack.desired, services, check=check)
