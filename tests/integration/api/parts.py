"""The gateway's parts, run in the test's process on real Redis and NATS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from nats.js.errors import NotFoundError
from redis.asyncio import Redis

from pkg.api.app import Ledgers, relay_links
from pkg.api.app import ledgers as ledgers_of
from pkg.api.redis.link import RedisLink
from pkg.api.relay.event_stream import EventStream, JetStreamEvents
from pkg.api.relay.outbox import Outbox
from pkg.api.settings import ApiSettings
from pkg.auction.bid import Bid
from pkg.auction.events import BidEvent, decode_batch, decode_event
from pkg.auction.ids import uuid7
from pkg.auction.item import partition_names
from pkg.auction.keys import outbox_key
from pkg.auction.subjects import STREAM, events_subject
from pkg.devkit.names import API
from pkg.runtime.background import ended
from pkg.runtime.nats_link import NatsLink, nats_link
from pkg.runtime.settings.loading import load
from pkg.stores.opening import open_partitions, require_open
from pkg.stores.redis_meta import NotOpenError, server_run_id
from pkg.stores.stream import stream_config
from pkg.trials.waiting import until
from tests.integration.providers import Stores

PARTITIONS = 4


def settings_for(stores: Stores, **environment: str) -> ApiSettings:
    defaults = {
        "REDIS_TIMEOUT_S": "10",  # a busy machine may stall for two seconds
        "BID_STRATEGY_OVERRIDE": "true",
    }
    return load(ApiSettings, stores.environment_of(API) | defaults | environment)


def bid(cents: int, *, item: str = "vase", user: str = "ann") -> Bid:
    return Bid(item, user, cents, event_id=uuid7(), bid_id=uuid7())


async def up(made: Ledgers) -> None:
    await until(lambda: all(link.probe() is None for link in made.links), within_s=10)


@asynccontextmanager
async def ledgers(settings: ApiSettings, *, wait: bool = True) -> AsyncIterator[Ledgers]:
    made = ledgers_of(settings)
    async with AsyncExitStack() as stack:
        for link in made.links:
            await stack.enter_async_context(running(link))
        if wait:
            await opened(settings.redis_target)
            await up(made)
        yield made


async def opened(redis_url: str) -> None:
    """Opens Redis, as the relay does if no store has bids that this Redis lacks."""
    async with Redis.from_url(redis_url) as redis:
        try:
            await require_open(redis, partition_names(PARTITIONS))
        except NotOpenError:
            await open_partitions(
                redis,
                partition_names(PARTITIONS),
                await server_run_id(redis),
                partitions=PARTITIONS,
            )


@asynccontextmanager
async def running(link: RedisLink[Any]) -> AsyncIterator[None]:
    task = asyncio.create_task(link.run())
    try:
        yield
    finally:
        await ended(task)


@asynccontextmanager
async def relay_outbox(settings: ApiSettings) -> AsyncIterator[Outbox]:
    reading, asking = relay_links(settings)
    async with running(reading), running(asking):
        await until(lambda: reading.probe() is None and asking.probe() is None, within_s=10)
        yield Outbox(reading, asking, partitions=partition_names(PARTITIONS))


@asynccontextmanager
async def event_stream(settings: ApiSettings) -> AsyncIterator[tuple[EventStream, NatsLink]]:
    async with nats_link(settings, name="test") as link:
        await until(lambda: link.connected, within_s=10)
        yield JetStreamEvents(link, stream_config(settings), keep_s=settings.stream_keep_s), link


async def outbox_events(redis: Redis) -> dict[str, list[bytes]]:
    """Every event in the outboxes, by partition, oldest first."""
    return {
        name: [event for _, event in await outbox_entries(redis, name)]
        for name in partition_names(PARTITIONS)
    }


async def outbox_entries(redis: Redis, partition: str) -> list[tuple[bytes, bytes]]:
    """Ids and events of one partition's outbox, oldest first."""
    rows: Any = await redis.xrange(outbox_key(partition))
    return [(entry_id, fields[b"e"]) for entry_id, fields in rows]


async def decoded_outbox(redis: Redis) -> dict[str, list[BidEvent]]:
    """Every event in the outboxes, by item, in the order of its partition."""
    events: dict[str, list[BidEvent]] = {}
    for raw in (await outbox_events(redis)).values():
        for event in map(decode_event, raw):
            events.setdefault(event.item_id, []).append(event)
    return events


async def stream_events(link: NatsLink) -> dict[str, list[bytes]]:
    """Every event that JetStream holds, by partition, oldest first; asserts that batches chain."""
    events: dict[str, list[bytes]] = {}
    for name in partition_names(PARTITIONS):
        events[name] = []
        sequence, last = 1, None
        while True:
            try:
                message = await link.jetstream.get_msg(
                    STREAM, seq=sequence, subject=events_subject(name), next=True
                )
            except NotFoundError:
                break
            batch = decode_batch(message.data or b"")
            sequence = (message.seq or 0) + 1
            if batch.epoch and batch.prev == batch.last and not batch.events:
                continue  # it begins an epoch
            assert last is None or batch.prev == last, f"a gap in {name}"
            assert 0 < len(batch.events) <= 500
            last = batch.last
            events[name] += [bytes(event) for event in batch.events]
    return events


async def relayed(
    link: NatsLink, count: int, *, within_s: float = 10, log: Callable[[], str] | None = None
) -> None:
    """Waits until JetStream holds as many events."""

    async def holds() -> bool:
        return sum(map(len, (await stream_events(link)).values())) == count

    await until(holds, within_s=within_s, forgiving=(Exception,), log=log)


def rises_without_gap(events: list[BidEvent]) -> bool:
    """One item's events: seq from 1 up, each price above the one it names as its previous."""
    previous = 0.0
    for number, event in enumerate(events, start=1):
        if event.seq != number or float(event.previous_bid) != previous:
            return False
        if float(event.amount) <= previous:
            return False
        previous = float(event.amount)
    return True
