"""What the audit reads from Redis: items, witnessed bids and outboxes. It writes nothing."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from redis.asyncio import Redis

from pkg.auction.events import UndecodableError, decode_event
from pkg.auction.item import FIELDS, ItemState, partition_names, partition_of
from pkg.auction.keys import (
    ITEM_KEYS,
    item_key,
    meta_key,
    outbox_key,
    split_item_key,
    witnessed_key,
)
from pkg.auction.outbox import OutboxId
from pkg.auction.witnessed import Witnessed
from pkg.stores.departures import Departures
from pkg.stores.redis_meta import PARTITIONS, PartitionsDifferError

PAGE = 500
_COUNT_PAGE = 1000
_EVENT = b"e"


class Waiting(NamedTuple):
    """An event in an outbox."""

    item_id: str
    seq: int


class UnreadableWitnessError(Exception):
    """A witnessed bid cannot be read, so lost bids cannot be determined."""


class AuctionSide:
    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._redis = redis
        self._partitions = partitions
        self.names = partition_names(partitions)
        self.departures = Departures(redis, partitions=partitions)
        self.astray: list[str] = []
        """Items in a partition other than that of their id, where no bid would find them."""

    def partition_of(self, item_id: str) -> str:
        return partition_of(item_id, self._partitions)

    async def check_partitions(self) -> None:
        """As ``record_partitions`` does, but read-only.

        Raises:
            PartitionsDifferError: the audit would look for items in the wrong partitions.
        """
        for name in self.names:
            recorded = await self._redis.hget(meta_key(name), PARTITIONS)
            if recorded is not None and int(recorded) != self._partitions:
                raise PartitionsDifferError(
                    f"this Redis was filled with PARTITIONS={int(recorded)}, "
                    f"but the audit runs with {self._partitions}"
                )

    async def pages(self) -> AsyncIterator[list[str]]:
        """The ids of all items, unordered. An id may repeat, as SCAN may return it twice.

        One scan for all partitions: each walks the whole keyspace, whatever it looks for.
        """
        cursor = 0
        while True:
            cursor, keys = await self._redis.scan(cursor, match=ITEM_KEYS, count=PAGE)
            ids: set[str] = set()
            astray: set[str] = set()
            for name, item_id in map(split_item_key, map(_text, keys)):
                if name in self.names:
                    home = partition_of(item_id, self._partitions)
                    (ids if name == home else astray).add(item_id)
            self.astray += sorted(astray)
            yield list(ids)
            if not cursor:
                break

    async def states(self, item_ids: Iterable[str]) -> dict[str, ItemState | None]:
        """Each item's state, read atomically per item; None for one that Redis does not know."""
        ids = list(item_ids)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for item_id in ids:
                key = item_key(partition_of(item_id, self._partitions), item_id)
                pipeline.hmget(key, list(FIELDS))
            replies: Sequence[Sequence[bytes | None]] = await pipeline.execute()
        return {
            item_id: ItemState.from_redis(values) if any(values) else None
            for item_id, values in zip(ids, replies, strict=True)
        }

    async def witnessed(self) -> dict[str, Witnessed]:
        """By event_id, the accepted bids that gateways recorded when Redis had restarted.

        Raises:
            UnreadableWitnessError: a field was not written by a gateway.
        """
        found = {}
        for name in self.names:
            async for event, text in self._redis.hscan_iter(witnessed_key(name), count=_COUNT_PAGE):
                try:
                    bid = Witnessed.parse(_text(event), _text(text))
                except ValueError:
                    raise UnreadableWitnessError(
                        f"{witnessed_key(name)} in Redis holds a field that no gateway writes: "
                        f"{_text(event)!r}; check it and remove it with HDEL"
                    ) from None
                found[bid.event_id] = bid
        return found

    async def outbox_ends(self) -> dict[str, OutboxId]:
        """The last entry id of each outbox that is not empty."""
        ends = {}
        for name in self.names:
            for entry_id, _ in await self._redis.xrevrange(outbox_key(name), count=1) or ():
                ends[name] = OutboxId.parse(_text(entry_id))
        return ends

    async def waiting_after(self, name: str, mark: OutboxId) -> dict[str, Waiting]:
        """An outbox's entries after the watermark, by event_id."""
        found = {}
        after = f"({mark}"
        while entries := await self._redis.xrange(outbox_key(name), after, count=_COUNT_PAGE):
            for _, fields in entries:
                event: Any = (fields or {}).get(_EVENT, b"")
                with suppress(UndecodableError):  # it will be a dead letter
                    decoded = decode_event(event)
                    found[decoded.event_id] = Waiting(decoded.item_id, decoded.seq)
            after = f"({_text(entries[-1][0])}"
        return found

    async def entries_after(self, name: str, mark: OutboxId) -> int:
        """The number of an outbox's entries after the watermark."""
        count = 0
        after = f"({mark}"
        while entries := await self._redis.xrange(outbox_key(name), after, count=_COUNT_PAGE):
            count += len(entries)
            after = f"({_text(entries[-1][0])}"
        return count


def _text(reply: bytes | str | None) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
