"""The system under test: three stores, two relays, two workers."""

import asyncio
from dataclasses import dataclass

from pkg.auction.events import encode_batch
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.stores.epochs import parse_epoch
from pkg.stores.redis_meta import EPOCH, RUN_ID, SUCCEEDS
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
        primary = stores.redis.opened(world, PARTITIONS, name="redis-a", items=2)
        self.servers = [primary]
        self.accepted = primary.accepted
        self.stream = stores.stream(world)
        self.archive = stores.archive()
        self.promises = Promises(self.servers, self.stream, self.archive)
        self.relays = [
            RelayProcess(world, primary, self.stream, name=name) for name in ("relay-a", "relay-b")
        ]
        self.workers = [
            WorkerProcess(world, self.stream, self.archive, self.relays, name=name)
            for name in ("worker-a", "worker-b")
        ]
        self._bid_after_healing: list[ForgetfulRedis] = []
        self._killed: list[asyncio.Task[None]] = []

    @property
    def processes(self) -> list[Process]:
        return [*self.relays, *self.workers]

    def promote(self) -> None:
        """Promotes the replica while the primary goes on, each with gateways of its own."""
        replica = self.servers[0].replica("redis-b")
        self.servers.append(replica)
        self.relays.append(RelayProcess(self.world, replica, self.stream, name="relay-c"))

    def is_whole(self) -> bool:
        return not (self.promises.outstanding() or self.in_use()) and any(
            server.open for server in self.servers
        )

    def in_use(self) -> set[str]:
        """Events in outboxes, but for those of a Redis that was superseded."""
        return set[str]().union(*(server.held() for server in self.servers if server.open))

    def operate(self) -> None:
        """Meanwhile there are new bids, and an operator does what an alarm asks for."""
        for server in self.servers:
            if server.open and server not in self._bid_after_healing:
                self._bid_after_healing.append(server)
                for partition in PARTITIONS:
                    server.bid(partition)
        waiting = [each.redis for each in self.relays if each.counts.waiting_for_restore]
        if waiting:
            self.restore(waiting[0])
        elif not any(server.open for server in self.servers):
            self.restore(self.servers[-1])

    def restore(self, server: ForgetfulRedis) -> None:
        """What an operator does by ``restore``, in one step."""
        self.world.note(f"{server.name} is restored")
        for name, partition in server.partitions.items():
            tail = self.stream.tail(name)
            tables = self.archive.tables
            archived = [row for row in tables.bids if row["item_id"].startswith(name)]
            known = [*archived, *self.stream.bids_of(name)]
            for bid in known:
                seqs = partition.seqs
                seqs[bid["item_id"]] = max(seqs.get(bid["item_id"], 0), bid["seq"])
            islands = [OutboxId(*each[2:]) for each in tables.islands.get(name, ())]
            end = max([tables.watermarks.get(name, BEGINNING), tail.last, *islands])
            partition.last = max(partition.last, end)
            meta = partition.meta
            epoch = parse_epoch(meta.get(EPOCH), (meta.get(SUCCEEDS, b"")).decode())
            epoch = epoch.next(after=tail.epoch)
            meta[EPOCH], meta[SUCCEEDS] = (
                str(epoch.number).encode(),
                " ".join(map(str, epoch.succeeds)).encode(),
            )
            self.stream.publish(
                name,
                encode_batch(name, prev=end, last=end, events=[], epoch=epoch.number),
                expected=tail.sequence,
            )
        for partition in server.partitions.values():
            partition.meta[RUN_ID] = f"{server.run_id}:restored".encode()

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
