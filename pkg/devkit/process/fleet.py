"""One service's replicas: kept at the desired number, replaced one by one."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from pkg.devkit.backend import Say
from pkg.devkit.errors import BidkitError
from pkg.devkit.listening import listen
from pkg.devkit.process.replica import Replica
from pkg.devkit.process.workloads import ServiceWorkload
from pkg.devkit.system import ServiceStatus


class Fleet:
    """Runs one operation at a time and refuses a second one."""

    def __init__(
        self,
        service: str,
        *,
        port: int | None,
        desired: int,
        settings: Mapping[str, str],
        begin: Callable[[str, ServiceWorkload], Replica],
    ) -> None:
        """`begin` starts a named replica of a workload. `port` is None if the service has none."""
        self.service = service
        self._port = port
        self._settings = settings
        self._begin = begin
        self._listener: socket.socket | None = None
        self._replicas: dict[int, Replica] = {}
        self._desired = desired
        self._busy: str | None = None

    @property
    def replicas(self) -> tuple[Replica, ...]:
        return tuple(replica for _, replica in sorted(self._replicas.items()))

    def status(self) -> ServiceStatus:
        replicas = tuple(replica.status() for replica in self.replicas)
        return ServiceStatus(
            service=self.service,
            kind="service",
            ready=sum(one.ready for one in replicas),
            desired=self._desired,
            restarts=sum(one.restarts for one in replicas),
            port=self._port,
            replicas=replicas,
        )

    def bind(self) -> None:
        """Listens on the public port, from which the replicas accept. Raises PortTaken."""
        if self._port is not None and self._listener is None and self._desired:
            self._listener = listen(self.service, self._port)

    def close(self) -> None:
        if self._listener:
            self._listener.close()
            self._listener = None

    def begin(self) -> None:
        """Starts the missing replicas without waiting for them."""
        self.bind()
        while len(self._replicas) < self._desired:
            self._add()

    async def scale(self, replicas: int, *, say: Say) -> None:
        with self._operation("scaled"):
            surplus = sorted(self._replicas)[replicas:]
            self._desired = replicas
            if not replicas:
                # No replica will accept: refuse callers rather than let them wait in the queue.
                self.close()
            self.begin()
            for number in surplus:
                say(f"{self._name(number)} stops")
            await asyncio.gather(*(self._remove(number) for number in surplus))
            for replica in self.replicas:
                await replica.becomes_ready()
            say(f"{self.service} has {replicas} ready")

    async def restart(self, *, say: Say) -> None:
        with self._operation("restarted"):
            if not self._replicas:
                say(f"{self.service} has 0 replicas; there is nothing to restart")
                return
            for number in sorted(self._replicas):
                new = self._add()
                say(f"{self._name(new)} starts in place of {self._name(number)}")
                try:
                    await self._replicas[new].becomes_ready()
                except BidkitError:
                    await self._remove(new)
                    raise
                say(f"{self._name(new)} is ready; {self._name(number)} drains")
                await self._remove(number)
            say(f"{self.service} is restarted")

    async def stop(self) -> None:
        self.close()
        await asyncio.gather(*(self._remove(number) for number in tuple(self._replicas)))

    def _add(self) -> int:
        number = next(n for n in range(1, len(self._replicas) + 2) if n not in self._replicas)
        workload = ServiceWorkload(
            self.service, listener=lambda: self._listener, settings=self._settings
        )
        self._replicas[number] = self._begin(self._name(number), workload)
        return number

    async def _remove(self, number: int) -> None:
        """May run beside a rolling restart: a shutdown does not wait for it."""
        replica = self._replicas.get(number)
        if replica is None:
            return
        await replica.stop()
        if self._replicas.get(number) is replica:
            del self._replicas[number]

    def _name(self, number: int) -> str:
        return f"{self.service}-{number}"

    def check_idle(self) -> None:
        """Raises BidkitError while an operation runs."""
        if self._busy:
            raise BidkitError(f"{self.service} is being {self._busy}; try again when that is done.")

    @contextmanager
    def _operation(self, what: str) -> Iterator[None]:
        self.check_idle()
        self._busy = what
        try:
            yield
        finally:
            self._busy = None
