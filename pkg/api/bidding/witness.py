"""Remembers the bids that this process accepted, in case Redis forgets them.

A bid that Redis forgets before it reaches the stream is in no store. The gateway that accepted it
still knows it, and writes what it remembers to the recovered Redis, where the audit reads it.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.auction.bid import Bid
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import item_key, witnessed_key
from pkg.auction.witnessed import WITNESSED_MAX, WITNESSED_TTL_S, Witnessed
from pkg.runtime import logs
from pkg.stores.departures import Departures
from pkg.stores.opening import require_open
from pkg.stores.redis_meta import NotOpenError

LOOK_EVERY_S = 0.5
_PAGE = 500

log = logs.get("witness")


class Witness:
    """The last ``most`` accepted bids. One per process; only ``saw`` is on the hot path.

    Bids stay here after they are written: the Redis they were written to may forget them too.
    """

    def __init__(self, redis: Redis, *, partitions: int, most: int) -> None:
        self._redis = redis
        self._partitions = partitions
        self._names = partition_names(partitions)
        self._departures = Departures(redis, partitions=partitions)
        self._seen: deque[tuple[Bid, int]] = deque(maxlen=most)
        self._opening: str | None = None
        self._gone: set[str] = set()
        self.forgotten = 0
        """Accepted bids that Redis lacked when it came back: at least this many are lost."""
        self.dropped = 0
        """Bids not written because a partition's list in Redis was full."""

    def saw(self, bid: Bid, seq: int) -> None:
        self._seen.append((bid, seq))

    async def run(self) -> None:
        """Reports to Redis after each opening, until cancelled; retries what fails."""
        while True:
            try:
                await self.report()
            except NotOpenError:
                pass  # it is being recovered or restored and must not be written yet
            except RedisError as error:
                log.debug("cannot report accepted bids; retrying", why=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def report(self) -> None:
        """Writes the remembered bids to Redis, once per opening; the first only if bids precede it.

        Raises:
            NotOpenError, redis.exceptions.RedisError: incomplete; the next call starts over.
        """
        opening = await require_open(self._redis, self._names)
        if opening != self._opening and (self._opening is not None or self._seen):
            remembered = [_witnessed(bid, seq) for bid, seq in reversed(self._seen)]
            await self._count_forgotten(remembered)
            dropped = await self._write(remembered)
            if await require_open(self._redis, self._names) != opening:
                raise NotOpenError("Redis was opened again meanwhile")
            self.dropped += dropped
            log.info("reported accepted bids to Redis", bids=len(remembered), dropped=dropped)
        self._opening = opening

    async def _count_forgotten(self, remembered: Sequence[Witnessed]) -> None:
        states: dict[str, tuple[int, str]] = {}
        for items in _pages(sorted({each.item_id for each in remembered})):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for item in items:
                    key = item_key(partition_of(item, self._partitions), item)
                    pipeline.hmget(key, ["seq", "event_id"])
                replies = await pipeline.execute()
            for item, (seq, event_id) in zip(items, replies, strict=True):
                states[item] = (int(seq or 0), (event_id or b"").decode())
        missing = [item for item, (seq, _) in states.items() if not seq]
        departed = await self._departures.departed(missing)
        remembered = [each for each in remembered if each.item_id not in departed]
        gone = {each.event_id for each in remembered if _is_gone(each, *states[each.item_id])}
        if new := gone - self._gone:
            self.forgotten += len(new)
            log.error("Redis came back without bids that were accepted", bids=len(new))
        self._gone = {each.event_id for each in remembered if each.event_id in self._gone | gone}

    async def _write(self, remembered: Sequence[Witnessed]) -> int:
        """Newest first, as those are the likeliest to be lost; returns how many had no room."""
        by_partition: dict[str, list[Witnessed]] = {}
        for each in remembered:
            by_partition.setdefault(partition_of(each.item_id, self._partitions), []).append(each)
        dropped = 0
        for partition, bids in by_partition.items():
            key = witnessed_key(partition)
            for page in _pages(bids):
                # Concurrent gateways may exceed the limit by one page each.
                if await self._redis.hlen(key) >= WITNESSED_MAX:
                    dropped += len(page)
                    continue
                async with self._redis.pipeline(transaction=True) as pipeline:
                    pipeline.hset(key, mapping={each.event_id: each.text for each in page})
                    pipeline.expire(key, WITNESSED_TTL_S)
                    await pipeline.execute()
        return dropped


def _witnessed(bid: Bid, seq: int) -> Witnessed:
    return Witnessed(bid.event_id, bid.item_id, seq, bid.user_id, bid.amount_cents)


def _is_gone(bid: Witnessed, seq: int, event_id: str) -> bool:
    return bid.seq > seq or (bid.seq == seq and bid.event_id != event_id)


def _pages(things: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (things[at : at + _PAGE] for at in range(0, len(things), _PAGE))
