"""What this process answered with 201, kept for the day on which Redis forgets it.

A bid that Redis forgot before it reached the stream is in no store. The gateway that answered it
still knows: it writes what it remembers to the Redis that came back, where the audit reads it.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.auction.bid import Bid
from pkg.auction.item import partition_of
from pkg.auction.keys import item_key, witnessed_key
from pkg.auction.witnessed import WITNESSED_MAX, WITNESSED_TTL_S, Witnessed
from pkg.runtime import logs
from pkg.stores.redis_meta import NotOpenError, require_open

LOOK_EVERY_S = 0.5
_PAGE = 500

log = logs.get("witness")


class Witness:
    """The last bids that this process accepted. One per process; only ``saw`` is on the hot path.

    They are never taken out when they were told: the Redis they were told to may forget as well.
    """

    def __init__(self, redis: Redis, *, partitions: int, most: int) -> None:
        self._redis = redis
        self._partitions = partitions
        self._seen: deque[tuple[Bid, int]] = deque(maxlen=most)
        self._opening: str | None = None
        self._gone: set[str] = set()
        self.forgotten = 0
        """Bids that Redis certainly lacked when it came back: at least so many are lost."""
        self.untold = 0
        """Bids not written because a partition's list was full."""

    def saw(self, bid: Bid, seq: int) -> None:
        self._seen.append((bid, seq))

    async def run(self) -> None:
        """Until cancelled: tells each Redis that is opened anew. What fails is tried again."""
        while True:
            try:
                await self.look()
            except NotOpenError:
                pass  # it is being recovered or restored: nothing may be written yet
            except RedisError as error:
                log.debug("cannot tell what was accepted; trying on", why=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Tells Redis what is remembered, once for every opening but the one before any bid.

        Raises:
            NotOpenError, redis.exceptions.RedisError: not all was told; it will be by another look.
        """
        opening = await require_open(self._redis, self._partitions)
        if opening != self._opening and (self._opening is not None or self._seen):
            remembered = [_witnessed(bid, seq) for bid, seq in reversed(self._seen)]
            await self._count_forgotten(remembered)
            untold = await self._tell(remembered)
            if await require_open(self._redis, self._partitions) != opening:
                raise NotOpenError("it was opened again meanwhile")
            self.untold += untold
            log.info("told Redis what was accepted before", bids=len(remembered), untold=untold)
        self._opening = opening

    async def _count_forgotten(self, remembered: Sequence[Witnessed]) -> None:
        standing: dict[str, tuple[int, str]] = {}
        for items in _pages(sorted({each.item_id for each in remembered})):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for item in items:
                    key = item_key(partition_of(item, self._partitions), item)
                    pipeline.hmget(key, ["seq", "event_id"])
                replies = await pipeline.execute()
            for item, (seq, event_id) in zip(items, replies, strict=True):
                standing[item] = (int(seq or 0), (event_id or b"").decode())
        gone = {each.event_id for each in remembered if _is_gone(each, *standing[each.item_id])}
        if new := gone - self._gone:
            self.forgotten += len(new)
            log.error("Redis came back without bids that were accepted", bids=len(new))
        self._gone = {each.event_id for each in remembered if each.event_id in self._gone | gone}

    async def _tell(self, remembered: Sequence[Witnessed]) -> int:
        """The newest first, which are the likeliest to be lost; returns how many had no room."""
        by_partition: dict[str, list[Witnessed]] = {}
        for each in remembered:
            by_partition.setdefault(partition_of(each.item_id, self._partitions), []).append(each)
        untold = 0
        for partition, bids in by_partition.items():
            key = witnessed_key(partition)
            for page in _pages(bids):
                # Several gateways may overstep the limit, by a page each.
                if await self._redis.hlen(key) >= WITNESSED_MAX:
                    untold += len(page)
                    continue
                async with self._redis.pipeline(transaction=True) as pipeline:
                    pipeline.hset(key, mapping={each.event_id: each.text for each in page})
                    pipeline.expire(key, WITNESSED_TTL_S)
                    await pipeline.execute()
        return untold


def _witnessed(bid: Bid, seq: int) -> Witnessed:
    return Witnessed(bid.event_id, bid.item_id, seq, bid.user_id, bid.amount_cents)


def _is_gone(bid: Witnessed, seq: int, event_id: str) -> bool:
    return bid.seq > seq or (bid.seq == seq and bid.event_id != event_id)


def _pages(things: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (things[at : at + _PAGE] for at in range(0, len(things), _PAGE))
