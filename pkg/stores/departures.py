"""Items that leave Redis for the archive, and which did.

An item leaves in one atomic step, which compares it with what the archive has, marks it in the
partition's filter and counts the departure. Whoever misses an item asks the filter first: an item
that is not marked is new. One that is marked may be in the archive only; the number of departures
tells afterwards whether the archive's answer still holds.
"""

from collections.abc import Sequence
from pathlib import Path

from redis.asyncio import Redis

from pkg.auction.asking import ArchivedItem
from pkg.auction.departed import HASHES, bits_of
from pkg.auction.item import partition_of
from pkg.auction.keys import departed_key, item_key, meta_key


def _script(name: str, *, filtering: bool = True) -> bytes:
    folder = Path(__file__).parent
    head = (folder / "departed.lua").read_bytes() if filtering else b""
    return head + (folder / f"{name}.lua").read_bytes()


FIND_ITEM = _script("find_item")
RETURN_ITEM = _script("return_item", filtering=False)
_DEPART_ITEM = _script("depart_item")
_MARK_DEPARTED = _script("mark_departed")

FINDS_DEPARTED = "+departed"
"""At the end of the names by which Redis knows the connections (CLIENT LIST) of gateways and
broadcasters that ask the archive for an item they miss. Those of the release before take it for a
new one, so nothing leaves while one of them is connected.
"""
_READERS = ("bids", "rounds-", "broadcast-service")

LEFT = 1


class Departures:
    """Of one Redis, through redis-py. ``departed`` only reads."""

    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._redis = redis
        self._partitions = partitions
        self._depart = redis.register_script(_DEPART_ITEM)
        self._mark = redis.register_script(_MARK_DEPARTED)

    async def depart(self, items: Sequence[ArchivedItem], *, opening: str) -> int:
        """Removes those that are in Redis exactly as in the archive; returns how many left.

        ``opening`` is the run id as recorded: nothing leaves a Redis that was opened again since.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for item in items:
                state = (item.price_cents, item.bidder, item.seq, item.count, item.event_id)
                await self._depart(
                    keys=self._keys(item.item_id), args=[opening, *state], client=pipe
                )
            return sum(verdict == LEFT for verdict in await pipe.execute())

    async def old_readers(self) -> list[str]:
        """Names of connected clients that would take a departed item for a new one."""
        names = {str(client["name"]) for client in await self._redis.client_list()}
        return sorted(
            name
            for name in names
            if name.startswith(_READERS) and not name.endswith(FINDS_DEPARTED)
        )

    async def mark(self, item_ids: Sequence[str]) -> set[str]:
        """Marks those that Redis does not have; returns them."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for item_id in item_ids:
                await self._mark(keys=self._keys(item_id), client=pipe)
            verdicts = await pipe.execute()
        return {each for each, verdict in zip(item_ids, verdicts, strict=True) if verdict == LEFT}

    async def departed(self, item_ids: Sequence[str]) -> set[str]:
        """Those that may have left, of items that are not in Redis. Read the items before this."""
        if not item_ids:
            return set()
        async with self._redis.pipeline(transaction=False) as pipe:
            for item_id in item_ids:
                key, _, departed = self._keys(item_id)
                for bit in bits_of(key):
                    pipe.getbit(departed, bit)
            found = await pipe.execute()
        return {
            item_id
            for number, item_id in enumerate(item_ids)
            if all(found[number * HASHES : (number + 1) * HASHES])
        }

    def _keys(self, item_id: str) -> list[str]:
        partition = partition_of(item_id, self._partitions)
        return [item_key(partition, item_id), meta_key(partition), departed_key(partition)]
