"""A fake API and relay: writes accepted bids to Redis and publishes their batches."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import nats
from nats.aio.client import Client
from redis.asyncio import Redis

from pkg.auction.bid import Bid, Strategy
from pkg.auction.events import encode_batch, event_head, event_tail, redis_timestamp
from pkg.auction.ids import uuid7
from pkg.auction.item import partition_of
from pkg.auction.keys import item_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import events_subject
from pkg.runtime.settings.sections import NatsSettings
from pkg.stores.stream import ensure_stream, stream_config

PARTITIONS = 4
STARTED_S = 1_790_000_000


@dataclass(frozen=True, slots=True)
class Event:
    item_id: str
    seq: int
    event_id: str
    cents: int
    json: bytes


@dataclass(slots=True)
class Item:
    """Makes an item's bids, each 100 cents higher than the one before."""

    item_id: str
    seq: int = 0

    def bid(self, *, placed_s: int = STARTED_S, event_id: str = "", cents: int = 0) -> Event:
        self.seq += 1
        event_id = event_id or uuid7()
        cents = cents or self.seq * 100
        bid = Bid(self.item_id, f"user-{self.seq % 7}", cents, event_id, uuid7())
        tail = event_tail(
            previous_cents=max(0, cents - 100),
            timestamp=redis_timestamp(placed_s, self.seq % 1_000_000),
            seq=self.seq,
        )
        return Event(self.item_id, self.seq, event_id, cents, event_head(bid, Strategy.LUA) + tail)

    def bids(self, count: int) -> list[Event]:
        return [self.bid() for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Batch:
    partition: str
    prev: OutboxId
    last: OutboxId
    data: bytes


@dataclass(slots=True)
class Chain:
    """Makes a partition's batches, each starting where the previous one ended."""

    partition: str = "p00"
    at: OutboxId = BEGINNING
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def batch(self, events: Sequence[Event | bytes]) -> Batch:
        prev, self.at = self.at, OutboxId(STARTED_S * 1000, next(self._ids))
        data = encode_batch(
            self.partition,
            prev=prev,
            last=self.at,
            events=[each.json if isinstance(each, Event) else each for each in events],
        )
        return Batch(self.partition, prev, self.at, data)


async def publish(nats_url: str, *batches: Batch | tuple[str, bytes]) -> None:
    """Publishes to the stream in this order; creates the stream if it is missing."""
    client: Client = await nats.connect(nats_url)
    try:
        jetstream = client.jetstream()
        await ensure_stream(jetstream, stream_config(NatsSettings(nats_url=nats_url)))
        for batch in batches:
            if isinstance(batch, Batch):
                await jetstream.publish(events_subject(batch.partition), batch.data)
            else:
                await jetstream.publish(*batch)
    finally:
        await client.close()


async def accept(redis_url: str, *events: Event, outbox: bool = False) -> None:
    """Writes to Redis what place_bid.lua writes for these events."""
    async with Redis.from_url(redis_url) as redis, redis.pipeline(transaction=False) as pipeline:
        for event in events:
            partition = partition_of(event.item_id, PARTITIONS)
            pipeline.hset(
                item_key(partition, event.item_id),
                mapping={
                    "price": event.cents,
                    "bidder": f"user-{event.seq % 7}",
                    "seq": event.seq,
                    "count": event.seq,
                    "event_id": event.event_id,
                    "opened_at": "2026-01-01T00:00:00.000000Z",
                },
            )
            if outbox:
                pipeline.xadd(outbox_key(partition), {"e": event.json})
        await pipeline.execute()
