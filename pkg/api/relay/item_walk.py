"""Walks the items in Redis, slowly: corrects each partition's number of items, and lets those go
that are idle.

Whoever makes an item counts it in ``meta``, in the same atomic step. A gateway of a release that
kept no count, or one that was rolled back, makes items uncounted; so they are counted now and then.
"""

import asyncio
from array import array
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.api.relay.idle_items import IdleItems
from pkg.api.relay.lease import Lease
from pkg.auction.departed import FILTER_BITS
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import ITEM_KEYS, departed_key, meta_key, split_item_key
from pkg.runtime import logs
from pkg.stores.opening import require_open
from pkg.stores.redis_meta import ITEMS, NotOpenError

LOOK_EVERY_S = 5.0
WALK_EVERY_S = 600.0
STEP_KEYS = 500
STEP_PAUSE_S = 0.1
"""With STEP_KEYS: at most 5,000 keys a second, about 0.2 % of Redis' time."""

log = logs.get("items")


@dataclass
class ItemCounts:
    """Of one process; ``items`` is what ``meta`` said last, by partition."""

    items: dict[str, float] = field(default_factory=dict)
    filter_share: dict[str, float] = field(default_factory=dict)
    """Of the filter of departed items: the share of bits that are set, by partition."""
    corrected: int = 0
    """By how many items the counts were off, in all."""


class ItemWalk:
    """Run by every process that relays; walks only while it holds the lease."""

    def __init__(
        self,
        redis: Redis,
        lease: Lease,
        *,
        partitions: int,
        counts: ItemCounts,
        idle: IdleItems | None = None,
        every_s: float = WALK_EVERY_S,
        pause_s: float = STEP_PAUSE_S,
    ) -> None:
        self._redis = redis
        self._lease = lease
        self._partitions = partitions
        self._names = partition_names(partitions)
        self._counts = counts
        self._idle = idle
        self._every_s = every_s
        self._pause_s = pause_s

    async def watch(self) -> None:
        """Reads the counts every LOOK_EVERY_S until cancelled; skips while Redis is away."""
        while True:
            with suppress(RedisError, OSError, ValueError):  # the links log an outage
                self._counts.items.update(await self._read())
            await asyncio.sleep(LOOK_EVERY_S)

    async def run(self) -> None:
        """Walks every ``every_s`` until cancelled."""
        while True:
            await self._lease.wait_held()
            try:
                await self.walk()
            except NotOpenError:
                pass  # it is being recovered or restored
            except (RedisError, OSError, ValueError) as error:
                log.warning("items not walked; trying again later", why=str(error))
            await asyncio.sleep(self._every_s)

    async def walk(self) -> None:
        """Counts all items once, and corrects ``meta`` by what is certainly wrong.

        An item that is made meanwhile, or comes back, may be met or not. So a count is right if it
        is what was met or more, by at most as many as were counted in ``meta`` meanwhile.

        Raises:
            NotOpenError, redis.exceptions.RedisError, OSError: nothing was corrected.
        """
        opening = await require_open(self._redis, self._names)
        for name in self._names:
            bits = await self._redis.bitcount(departed_key(name))
            self._counts.filter_share[name] = bits / FILTER_BITS
        before = await self._read()
        met = {name: array("q") for name in self._names}
        left = dict.fromkeys(self._names, 0)
        cursor = 0
        while True:
            cursor, keys = await self._redis.scan(cursor, match=ITEM_KEYS, count=STEP_KEYS)
            for name, item_ids in self._by_partition(keys).items():
                met[name].extend(map(hash, item_ids))  # 8 bytes an item
                if self._idle is not None and self._lease.held:
                    left[name] += await self._idle.let_go(item_ids, opening=opening)
            if not cursor:
                break
            await asyncio.sleep(self._pause_s)
            if not self._lease.held:
                return
        after = await self._read()
        if await require_open(self._redis, self._names) != opening:
            raise NotOpenError("Redis was opened again meanwhile")
        for name, hashes in met.items():
            least = len(set(hashes)) - left[name]  # SCAN may return a key twice
            made = max(0, after[name] - before[name] + left[name])
            await self._correct(name, after[name], least=least, most=least + made)

    def _by_partition(self, keys: Sequence[bytes | str]) -> dict[str, list[str]]:
        """The ids of the items, without those that are in a partition other than their own."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name, item_id in map(split_item_key, map(_text, keys)):
            if name == partition_of(item_id, self._partitions):
                found[name].append(item_id)
        return found

    async def _correct(self, name: str, count: int, *, least: int, most: int) -> None:
        """By difference, as items may be made at the same time."""
        off = min(max(count, least), most) - count
        if off:
            self._counts.corrected += abs(off)
            log.info("number of items corrected", partition=name, by=off)
            await self._redis.hincrby(meta_key(name), ITEMS, off)

    async def _read(self) -> dict[str, int]:
        return {
            name: int(await self._redis.hget(meta_key(name), ITEMS) or 0) for name in self._names
        }


def _text(key: bytes | str) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else key
