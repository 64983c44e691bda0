"""The model's processes: the real relay, and the real worker with its real Deliveries."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, cast

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import Header
from redis.asyncio import Redis

from pkg.api.relay.metrics import RelayMetrics
from pkg.api.relay.recovery import Recovery
from pkg.api.relay.recovery_counts import RecoveryCounts
from pkg.api.relay.relay import Relay
from pkg.archival.announcer import Announcer
from pkg.archival.deliveries import Deliveries
from pkg.archival.intake import Reader
from pkg.archival.metrics import ArchiveMetrics
from pkg.archival.stops import Stops
from pkg.archival.store import Connection, Store
from pkg.archival.worker import Worker
from pkg.auction.events import decode_watermark
from pkg.auction.subjects import archived_subject, events_subject
from pkg.runtime.nats_link import NatsLink
from tests.unit.api.relay.stand_ins import GivenLease
from tests.unit.model.archive import Archive, ModelStore
from tests.unit.model.forgetful_redis import ForgetfulRedis, ModelOutbox
from tests.unit.model.jetstream import ACK, JetStream, ModelStream, Stored
from tests.unit.model.opening import ModelRedisClient, ReadingLink
from tests.unit.model.world import Place, World

OUTBOX_MAX_ENTRIES = 14
RESEND_AFTER_S = 60.0
RECOVERY_WAIT_S = 20.0
HEARING_S = 2.0


class Process(Protocol):
    name: str
    tasks: "list[asyncio.Task[None]]"

    def start(self) -> None: ...


class RelayProcess:
    def __init__(
        self, world: World, redis: ForgetfulRedis, stream: JetStream, *, name: str
    ) -> None:
        self.name = name
        self._world = world
        self.redis = redis
        self._stream = stream
        self.start()

    def start(self) -> None:
        """Starts with empty memory."""
        world, name = self._world, self.name
        self.lease = GivenLease(given=False)
        stream = ModelStream(world, self._stream, name)
        self.counts = RecoveryCounts()
        self.recovery = Recovery(
            cast("Redis", ModelRedisClient(world, self.redis, name)),
            cast("NatsLink", ReadingLink(world, self._stream, name)),
            stream,
            names=list(self.redis.partitions),
            partitions=len(self.redis.partitions),
            wait_s=RECOVERY_WAIT_S,
            hearing_s=HEARING_S,
            counts=self.counts,
        )
        self.relay = Relay(
            ModelOutbox(world, self.redis, name),
            stream,
            self.lease,
            linger_max_ms=0,
            outbox_max_entries=OUTBOX_MAX_ENTRIES,
            resend_after_s=RESEND_AFTER_S,
            recovery=self.recovery,
            metrics=RelayMetrics(holds_lease=lambda: self.lease.held),
        )
        world.on_nats_connect[name] = [self.relay.resync]
        self.tasks = [world.loop.create_task(self.relay.run())]


@dataclass
class Pull:
    """An open pull and how many messages it still takes."""

    inbox: str
    credit: int


class ModelClient:
    """The part of a NATS client that the worker uses. Nothing in it waits for a reply."""

    max_payload = 1024 * 1024

    def __init__(self, process: "WorkerProcess", world: World, stream: JetStream) -> None:
        self._process = process
        self._world = world
        self._stream = stream
        self.receive: Callable[[Msg], Awaitable[None]] | None = None
        self.pull: Pull | None = None

    def new_inbox(self) -> str:
        return "_INBOX"

    async def subscribe(self, _: str, *, cb: Callable[[Msg], Awaitable[None]], **__: int) -> object:
        self.receive = cb
        return object()

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        if reply:
            self.pull = Pull(reply, json.loads(data)["batch"])
            if self._stream.consumer is None:
                self.refuse("503")
        elif subject.startswith(ACK):
            if data == b"+ACK":
                self._world.send(
                    f"acknowledge {subject}", lambda: self._stream.acknowledged(subject)
                )
        else:
            partition, mark, epoch = decode_watermark(data)
            assert subject == archived_subject(partition)
            for relay in self._process.relays:
                self._world.send(
                    f"{partition} is archived to {mark}, to {relay.name}",
                    lambda relay=relay: relay.relay.archive_has(partition, mark, epoch),  # type: ignore[misc]
                )

    def refuse(self, status: str) -> None:
        """Ends the open pull with a status. A live connection never loses it."""
        if self.pull is None or self.receive is None:
            return
        message = Msg(
            cast("Client", None), subject=self.pull.inbox, headers={Header.STATUS.value: status}
        )
        receive, self.pull = self.receive, None
        self._world.note(f"{self._process.name}'s pull ends with {status}")
        self._world.loop.call_soon(lambda: _run(receive(message)))

    def deliver(self, stored: Stored) -> None:
        assert self.pull
        assert self.receive
        self.pull.credit -= 1
        self._stream.delivers(stored)
        message = Msg(
            cast("Client", None),
            subject=events_subject(stored.partition),
            reply=self._stream.reply_of(stored),
            data=stored.data,
        )
        _run(self.receive(message))


class ModelLink:
    """Stands for a NatsLink."""

    def __init__(self, world: World, client: ModelClient, name: str) -> None:
        self._world = world
        self._watchers = world.on_nats_connect[name] = []
        self.client = client

    @property
    def connected(self) -> bool:
        return Place.NATS not in self._world.away

    def on_connect(self, watcher: Callable[[], None]) -> None:
        self._watchers.append(watcher)


class WorkerProcess:
    def __init__(
        self,
        world: World,
        stream: JetStream,
        archive: Archive,
        relays: list[RelayProcess],
        *,
        name: str,
    ) -> None:
        self.name = name
        self.relays = relays
        self._world = world
        self._stream = stream
        self._archive = archive
        self.start()

    def start(self) -> None:
        """Starts with empty memory."""
        world = self._world
        self.client = ModelClient(self, world, self._stream)
        link = cast("NatsLink", ModelLink(world, self.client, self.name))
        announcer = Announcer(link)

        async def prepare(connection: Connection) -> None:
            await announcer.load(connection)

        store = cast("Store", ModelStore(world, self._archive, self.name, prepare))
        deliveries = Deliveries(link, self._ensure, batch=3)
        stops = Stops()
        worker = Worker(
            deliveries,
            store,
            announcer,
            ArchiveMetrics(store=store, deliveries=deliveries, announcer=announcer, stops=stops),
            stops,
            reader=Reader(),
            stop=asyncio.Event(),
            batch_events=8,
            batch_messages=3,
            linger_s=0.0,
        )
        self.tasks = [world.loop.create_task(each) for each in (worker.run(), announcer.run())]

    async def _ensure(self) -> datetime:
        made: datetime = await self._world.call(
            self.name,
            Place.NATS,
            "ensure consumer",
            self._stream.ensure_consumer,
            failure=nats.errors.TimeoutError,
        )
        return made


def _run(received: Awaitable[None]) -> None:
    """Runs a callback that does not suspend."""
    with suppress(StopIteration):
        received.__await__().__next__()
        raise AssertionError("the callback suspended")
