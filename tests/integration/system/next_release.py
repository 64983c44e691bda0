"""A made-up next release. Its relay publishes version 2 and kind `shiny`; its worker reads both."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import nats
from nats.js import JetStreamContext
from nats.js.errors import BadRequestError, NotFoundError
from redis.asyncio import Redis

from pkg.archival.app import run_worker
from pkg.archival.epochs import Origin
from pkg.archival.intake import ArchivableEvent, Reader
from pkg.archival.settings import ArchivalSettings
from pkg.auction.events import VERSION, Batch
from pkg.auction.item import partition_names
from pkg.auction.keys import outbox_key
from pkg.auction.subjects import STREAM, events_subject
from pkg.runtime.background import ended
from tests.integration.providers import Stores

PARTITIONS = 4
NEXT = VERSION + 1
_TURN_S = 0.01


class NextReader(Reader):
    """Reads the next version and its kind too. To us both mean a bid."""

    def batch(self, data: bytes) -> Batch:
        return super().batch(data.replace(b'{"v":%d,' % NEXT, b'{"v":%d,' % VERSION, 1))

    def event(self, raw: msgspec.Raw, origin: Origin) -> ArchivableEvent:
        known = bytes(raw).replace(b'"kind":"shiny"', b'"kind":"bid"', 1)
        return super().event(msgspec.Raw(known), origin)


class NextRelay:
    """Relays from the outboxes, fenced like ours: `version_2` has every batch in version 2, and
    `shiny` every third event of the new kind.
    """

    def __init__(
        self, redis: Redis, jetstream: JetStreamContext, *, version_2: str, shiny: str
    ) -> None:
        self._redis = redis
        self._jetstream = jetstream
        self._version_2 = version_2
        self._shiny = shiny
        self.published: dict[str, int] = dict.fromkeys(partition_names(PARTITIONS), 0)
        """Events by partition."""

    async def run(self) -> None:
        while True:
            for partition in self.published:
                await self._relay(partition)
            await asyncio.sleep(_TURN_S)

    async def _relay(self, partition: str) -> None:
        sequence, last = await self._last(partition)
        rows: Any = await self._redis.xrange(outbox_key(partition), f"({last}", count=20)
        if not rows:
            return
        events = [fields[b"e"] for _, fields in rows]
        if partition == self._shiny:
            events[::3] = [each.replace(b'"bid"', b'"shiny"', 1) for each in events[::3]]
        version = NEXT if partition == self._version_2 else VERSION
        head = {"v": version, "partition": partition, "prev": last, "last": rows[-1][0].decode()}
        text = json.dumps(head, separators=(",", ":"))[:-1].encode()
        try:
            await self._jetstream.publish(
                events_subject(partition),
                text + b',"events":[' + b",".join(events) + b"]}",
                headers={"Nats-Expected-Last-Subject-Sequence": str(sequence)},
            )
        except BadRequestError:
            return  # another relay published first
        self.published[partition] += len(events)

    async def _last(self, partition: str) -> tuple[int, str]:
        try:
            message = await self._jetstream.get_last_msg(STREAM, events_subject(partition))
        except NotFoundError:
            return 0, "0-0"
        return message.seq or 0, json.loads(message.data or b"")["last"]


@asynccontextmanager
async def next_relay(stores: Stores, *, version_2: str, shiny: str) -> AsyncIterator[NextRelay]:
    client = await nats.connect(stores.nats_url)
    try:
        async with Redis.from_url(stores.redis_url) as redis:
            relay = NextRelay(redis, client.jetstream(), version_2=version_2, shiny=shiny)
            task = asyncio.create_task(relay.run())
            try:
                yield relay
            finally:
                await ended(task)
    finally:
        await client.close()


@asynccontextmanager
async def next_worker(stores: Stores) -> AsyncIterator[None]:
    """The worker of the next release: the same code with another reader."""
    settings = ArchivalSettings(
        nats_url=stores.nats_url, postgres_url=stores.postgres_url, admin_addr=None
    )
    stop = asyncio.Event()
    task = asyncio.create_task(run_worker(settings, stop, reader=NextReader()))
    try:
        yield
    finally:
        stop.set()
        assert await asyncio.wait_for(task, timeout=20) == 0
