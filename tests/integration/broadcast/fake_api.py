"""A fake of the API and its relay: writes bids to Redis and publishes them in batches."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from nats.aio.client import Client
from redis.asyncio import Redis

from pkg.auction.bid import Bid, Strategy
from pkg.auction.events import encode_batch, event_head, event_tail
from pkg.auction.ids import uuid7
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import item_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import events_subject
from pkg.stores.epochs import Epoch, record_epoch
from pkg.stores.opening import open_partitions
from pkg.stores.redis_meta import record_partitions, server_run_id

PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """An accepted bid's entry in the outbox; `before` is the id of the one before it."""

    partition: str
    item_id: str
    seq: int
    before: OutboxId
    at: OutboxId
    event: bytes


@dataclass
class _Item:
    seq: int = 0
    cents: int = 0


class FakeApi:
    def __init__(self, redis: Redis, nats: Client) -> None:
        self._redis = redis
        self._nats = nats
        self._items: defaultdict[str, _Item] = defaultdict(_Item)
        self._outbox: defaultdict[str, OutboxId] = defaultdict(lambda: BEGINNING)
        self._numbers = itertools.count(1)
        self._event_ids: dict[tuple[str, int], str] = {}

    @property
    def connected(self) -> bool:
        return self._nats.is_connected

    async def accept(self, item_id: str, *, user: str = "ann", count: int = 1) -> list[Entry]:
        """Each bid raises the price by one euro. Only the last state is written to Redis."""
        entries = [self._entry(item_id, user) for _ in range(count)]
        await self.write_state(item_id, user=user)
        return entries

    async def write_state(self, item_id: str, *, user: str = "ann") -> None:
        """Writes the item's state as known here to Redis."""
        item = self._items[item_id]
        await self._redis.hset(
            item_key(partition_of(item_id, PARTITIONS), item_id),
            mapping={
                "price": item.cents,
                "bidder": user,
                "seq": item.seq,
                "count": item.seq,
                "event_id": self.event_id(item_id, item.seq),
                "opened_at": "2026-01-01T00:00:00.000000Z",
            },
        )

    async def publish(self, entries: Sequence[Entry]) -> None:
        """Publishes one batch. The entries must be of one partition and consecutive."""
        first, last = entries[0], entries[-1]
        await self._nats.publish(
            events_subject(first.partition),
            encode_batch(
                first.partition,
                prev=first.before,
                last=last.at,
                events=[entry.event for entry in entries],
            ),
        )
        await self._nats.flush()

    async def bid(self, item_id: str, *, count: int = 1, user: str = "ann") -> list[Entry]:
        entries = await self.accept(item_id, count=count, user=user)
        await self.publish(entries)
        return entries

    async def extend(self, item_id: str) -> None:
        """Publishes an event of a kind that only the next release knows. The price stays."""
        item = self._items[item_id]
        (bid,) = await self.accept(item_id)
        item.cents -= 100
        await self.write_state(item_id)
        event = f'{{"kind":"extended","item_id":"{item_id}","seq":{bid.seq},"until":"noon"}}'
        await self.publish([replace(bid, event=event.encode())])

    async def open_redis(self) -> None:
        """Opens Redis for bids, as the relay does after recovery."""
        await open_partitions(
            self._redis,
            partition_names(PARTITIONS),
            await server_run_id(self._redis),
            partitions=PARTITIONS,
        )

    async def begin_epoch(self, number: int) -> None:
        """As each opening does."""
        for partition in partition_names(PARTITIONS):
            await record_epoch(self._redis, partition, Epoch(number))

    async def close_redis(self) -> None:
        """Closes Redis for bids, as after its restart."""
        await open_partitions(
            self._redis, partition_names(PARTITIONS), "another server", partitions=PARTITIONS
        )

    async def record_partitions(self, partitions: int) -> None:
        await self._redis.flushall()
        await record_partitions(self._redis, partition_names(partitions), partitions=partitions)

    def rewind(self, item_id: str, *, seq: int, cents: int | None = None) -> None:
        """Goes back to an older state, as a Redis that lost writes. ``write_state`` stores it."""
        self._items[item_id] = _Item(seq=seq, cents=seq * 100 if cents is None else cents)

    def event_id(self, item_id: str, seq: int) -> str:
        return self._event_ids.get((item_id, seq), "")

    def _entry(self, item_id: str, user: str) -> Entry:
        item = self._items[item_id]
        previous, item.cents, item.seq = item.cents, item.cents + 100, item.seq + 1
        partition = partition_of(item_id, PARTITIONS)
        before = self._outbox[partition]
        at = self._outbox[partition] = OutboxId(next(self._numbers), 0)
        bid = Bid(
            item_id=item_id,
            user_id=user,
            amount_cents=item.cents,
            event_id=uuid7(),
            bid_id=uuid7(),
        )
        self._event_ids[item_id, item.seq] = bid.event_id
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        event = event_head(bid, Strategy.LUA) + event_tail(
            previous_cents=previous, timestamp=stamp, seq=item.seq
        )
        return Entry(partition, item_id, item.seq, before, at, event)
