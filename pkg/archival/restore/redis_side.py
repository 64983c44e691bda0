"""What restore reads from Redis: whether it is open or empty, and what it holds of each item."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import ITEM_KEYS, item_key, meta_key, split_item_key
from pkg.stores.departures import Departures
from pkg.stores.opening import read_opening
from pkg.stores.redis_meta import PARTITIONS, RUN_ID, PartitionsDifferError

_SCAN_COUNT = 1000


@dataclass(frozen=True, slots=True)
class RedisState:
    """``open_on`` are the partitions opened on this server process, identified by ``run_id``. If
    ``open``, all of them are, and they were opened together, so that bids are accepted.
    ``superseded``: another Redis was opened after it.
    """

    run_id: str
    open_on: tuple[str, ...]
    open: bool
    empty: bool
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What Redis holds of an item; zeros if nothing."""

    seq: int = 0
    price_cents: int = 0


class RedisSide:
    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self.client = redis
        self.partitions = partitions
        self.names = partition_names(partitions)
        self.departures = Departures(redis, partitions=partitions)

    async def check_partitions(self) -> None:
        """Raises PartitionsDifferError if restored items would end up in the wrong partitions."""
        for name in self.names:
            recorded = await self.client.hget(meta_key(name), PARTITIONS)
            if recorded is not None and int(recorded) != self.partitions:
                raise PartitionsDifferError(
                    f"this Redis was filled with PARTITIONS={int(recorded)}, "
                    f"but restore runs with {self.partitions}"
                )

    async def state(self) -> RedisState:
        """Raises NotOpenError: a replica. redis.exceptions.RedisError: Redis is away."""
        found = await read_opening(self.client, self.names)
        return RedisState(
            run_id=found.run_id,
            open_on=found.open_on,
            open=found.open,
            empty=not await self._any_item(),
            superseded=found.superseded,
        )

    async def close_partitions(self) -> None:
        """Stops bids until the partitions are opened again."""
        for name in self.names:
            await self.client.hdel(meta_key(name), RUN_ID)

    async def known(self, item_ids: Iterable[str]) -> dict[str, Known]:
        ids = list(item_ids)
        async with self.client.pipeline(transaction=False) as pipeline:
            for item_id in ids:
                key = item_key(partition_of(item_id, self.partitions), item_id)
                pipeline.hmget(key, ["seq", "price"])
            replies: Sequence[Sequence[bytes | None]] = await pipeline.execute()
        return {
            item_id: Known(int(seq or 0), int(price or 0))
            for item_id, (seq, price) in zip(ids, replies, strict=True)
        }

    async def _any_item(self) -> bool:
        """Does not use DBSIZE, as relays soon write other keys to an emptied Redis.

        One scan for all partitions: each walks the whole keyspace, whatever it looks for.
        """
        cursor = 0
        while True:
            cursor, keys = await self.client.scan(cursor, match=ITEM_KEYS, count=_SCAN_COUNT)
            if any(split_item_key(_text(key))[0] in self.names for key in keys):
                return True
            if not cursor:
                return False


def _text(key: bytes | str) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else key
