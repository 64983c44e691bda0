"""The system under test: three stores, two relays, two workers."""

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
    """The classes of the stores. A test of a guard replaces one by a class without it."""

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
        self._killed: list[asyncio.Task[None]] = []

    @property
    def processes(self) -> list[Process]:
        return [*self.relays, *self.workers]

    def reconnect(self) -> None:
        """Tells NATS' clients that they have reconnected."""
        for worker in self.workers:
            worker.client.pull = None
        for watchers in self.world.on_nats_connect.values():
            for watcher in watchers:
                watcher()

    def kill(self, process: Process) -> None:
        self._killed += process.tasks

    async def settle(self) -> None:
        """Runs until every process waits for a store, a message or a timer."""
        await self._cancel_killed()
        for process in self.processes:
            for task in process.tasks:
                if task.done():
                    task.result()

    async def end(self) -> None:
        for process in self.processes:
            self.kill(process)
        while self._killed:
            await self._cancel_killed()

    async def _cancel_killed(self) -> None:
        """Cancels again and again: Python 3.11's ``wait_for`` may swallow a cancellation."""
        for task in self._killed:
            task.cancel()
        await asyncio.sleep(_TICK_S)
        self._killed = [task for task in self._killed if not task.done()]
