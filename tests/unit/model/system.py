"""Everything of one history: three stores, two relays, two workers."""

import asyncio
from dataclasses import dataclass

from tests.unit.model.archive import Archive
from tests.unit.model.forgetful_redis import ForgetfulRedis
from tests.unit.model.jetstream import JetStream
from tests.unit.model.processes import Process, RelayProcess, WorkerProcess
from tests.unit.model.promises import Promises
from tests.unit.model.world import World

PARTITIONS = ["p00", "p01"]
_TICK_S = 0.001


@dataclass(frozen=True)
class Stores:
    """The stores' classes; a test replaces one by a class that lacks a guard."""

    redis: type[ForgetfulRedis] = ForgetfulRedis
    stream: type[JetStream] = JetStream
    archive: type[Archive] = Archive


class System:
    def __init__(self, world: World, stores: Stores) -> None:
        self.world = world
        self.redis = stores.redis(world, PARTITIONS, items=2)
        self.stream = stores.stream(world)
        self.archive = stores.archive()
        self.promises = Promises(self.redis, self.stream, self.archive)
        self.relays = [
            RelayProcess(world, self.redis, self.stream, name=name)
            for name in ("relay-a", "relay-b")
        ]
        self.workers = [
            WorkerProcess(world, self.stream, self.archive, self.relays, name=name)
            for name in ("worker-a", "worker-b")
        ]
        self._dying: list[asyncio.Task[None]] = []

    @property
    def processes(self) -> list[Process]:
        return [*self.relays, *self.workers]

    def reconnect(self) -> None:
        """NATS is back: notifies its clients."""
        for worker in self.workers:
            worker.client.pull = None
        for watchers in self.world.on_nats_connect.values():
            for watcher in watchers:
                watcher()

    def kill(self, process: Process) -> None:
        self._dying += process.tasks

    async def settle(self) -> None:
        """Runs until every process waits for a store, for a message or for the clock."""
        await self._bury()
        for process in self.processes:
            for task in process.tasks:
                if task.done():
                    task.result()

    async def end(self) -> None:
        for process in self.processes:
            self.kill(process)
        while self._dying:
            await self._bury()

    async def _bury(self) -> None:
        """Python 3.11's ``wait_for`` may swallow a cancellation, so this cancels until done."""
        for task in self._dying:
            task.cancel()
        await asyncio.sleep(_TICK_S)
        self._dying = [task for task in self._dying if not task.done()]
