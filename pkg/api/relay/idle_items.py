"""Lets items leave Redis that nobody has bid on for long and that the archive has as they are."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from pkg.auction.ids import seconds_of_uuid7
from pkg.auction.item import FIELDS, ItemState, partition_of
from pkg.auction.keys import item_key
from pkg.runtime import logs
from pkg.stores.archived_items import ArchivedItems, ArchiveUnavailableError
from pkg.stores.departures import Departures

log = logs.get("items")


@dataclass
class IdleCounts:
    """Counts since the process started."""

    departed: int = 0
    kept: int = 0
    """Times an idle item stayed, as the archive does not have it as it is."""


class IdleItems:
    """Used by ``ItemWalk``, step by step."""

    def __init__(
        self,
        redis: Redis,
        departures: Departures,
        archive: ArchivedItems,
        *,
        partitions: int,
        idle_s: float,
        counts: IdleCounts,
    ) -> None:
        """``idle_s`` is above 0."""
        self._redis = redis
        self._departures = departures
        self._archive = archive
        self._partitions = partitions
        self._idle_s = idle_s
        self._counts = counts
        self._waits_for: list[str] = []

    async def let_go(self, item_ids: Sequence[str], *, opening: str) -> int:
        """Those of these items that are idle and archived leave. Returns how many did.

        An item changes for the last time by its last bid, so it is idle since then, whoever reads
        it. What is checked here is checked again in the step that removes it.

        Raises:
            redis.exceptions.RedisError, OSError: Redis is away.
        """
        idle = await self._idle(item_ids)
        if not idle or await self._others_would_take_them_for_new():
            return 0
        try:
            archived = await self._archive.find(list(idle))
        except ArchiveUnavailableError:
            return 0  # counted; the next walk meets them again
        same = [
            item
            for item_id, item in archived.items()
            # The archive knows best when an item was opened, see restore_item.lua.
            if _but_opening(item.state) == _but_opening(idle[item_id])
        ]
        left = await self._departures.depart(same, opening=opening) if same else 0
        self._counts.departed += left
        self._counts.kept += len(idle) - left
        return left

    async def _idle(self, item_ids: Sequence[str]) -> dict[str, ItemState]:
        before = time.time() - self._idle_s
        async with self._redis.pipeline(transaction=False) as pipe:
            for item_id in item_ids:
                partition = partition_of(item_id, self._partitions)
                pipe.hmget(item_key(partition, item_id), FIELDS)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        found = {}
        for item_id, values in zip(item_ids, replies, strict=True):
            if isinstance(values, list):
                last_bid = seconds_of_uuid7((values[FIELDS.index("event_id")] or b"").decode())
                if last_bid is not None and last_bid < before:
                    with suppress(ValueError):  # not written by us
                        found[item_id] = ItemState.from_redis(values)
        return found

    async def _others_would_take_them_for_new(self) -> bool:
        old = await self._departures.old_readers()
        if old and old != self._waits_for:
            log.warning("idle items stay: services of an older release are connected", names=old)
        self._waits_for = old
        return bool(old)


def _but_opening(state: ItemState) -> tuple[object, ...]:
    return state.price_cents, state.bidder, state.seq, state.count, state.event_id
