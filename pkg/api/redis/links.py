"""The gateway's connections to Redis: for bids, for optimistic rounds, for the relay."""

from typing import Any

from pkg.api.bidding.ledger import load_script
from pkg.api.bidding.prices import PriceCounts, SeenPrices
from pkg.api.redis.connection import RedisConnection, pack
from pkg.api.redis.link import RedisLink
from pkg.api.settings import ApiSettings, RelaySettings
from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key
from pkg.stores.redis_meta import (
    RUN_ID,
    Executes,
    NotOpenError,
    UnfitRedisError,
    record_partitions,
    require_open,
    require_primary,
)

RELAY_QUEUE_MAX = 1_000
ENTRY_BYTES = 512  # an outbox entry with the longest usual ids, and Redis' own share


class _Executor:
    """One connection as ``record_partitions`` wants it."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def execute_command(self, *parts: str) -> Any:  # noqa: ANN401 - a reply
        return await self._connection.submit(pack(*parts))


def bid_link(
    settings: ApiSettings, name: str, counts: PriceCounts, *, one_of_many: bool = False
) -> RedisLink:
    """A link on which bids are placed: every connection's Redis is checked and knows the script."""

    async def prepare(connection: RedisConnection) -> None:
        executor = _Executor(connection)
        await record_partitions(executor, settings.partitions)
        await require_room(executor, settings)
        connection.run_id = await require_open(executor, settings.partitions)
        await load_script(connection)

    async def check(connection: RedisConnection) -> None:
        """Emptied in place or made a replica, Redis ends no connection: who only reads cached
        prices must be told.
        """
        await require_primary(_Executor(connection))
        names = partition_names(settings.partitions)
        recorded = await connection.submit_all(
            *(pack("HGET", meta_key(name), RUN_ID) for name in names)
        )
        if any(each != connection.run_id.encode() for each in recorded):
            raise NotOpenError("what it held is gone, or was restored")

    return RedisLink(
        settings.redis_target,
        name=name,
        timeout_s=settings.redis_timeout_s,
        queue_max=settings.redis_queue_max,
        prepare=prepare,
        check=check,
        new_prices=lambda: SeenPrices(settings.price_cache_items, counts),
        one_of_many=one_of_many,
        min_replicas=settings.redis_min_replicas,
    )


async def require_room(redis: Executes, settings: ApiSettings) -> None:
    """Full outboxes must fit into half of Redis' memory, or bids are refused for the wrong reason.

    Raises:
        UnfitRedisError: they would not.
    """
    memory = await redis.execute_command("INFO", "memory")
    limit = next(
        int(line.removeprefix(b"maxmemory:"))
        for line in bytes(memory).splitlines()
        if line.startswith(b"maxmemory:")
    )
    wanted = settings.partitions * settings.outbox_max_entries * ENTRY_BYTES
    if limit and wanted > limit / 2:
        raise UnfitRedisError(
            f"OUTBOX_MAX_ENTRIES={settings.outbox_max_entries} in {settings.partitions} partitions "
            f"may take {wanted} bytes, more than half of this Redis' maxmemory of {limit}"
        )


def relay_link(settings: RelaySettings, name: str, *, patience_s: float = 0.0) -> RedisLink:
    """A link for the relay; ``patience_s`` is how long its reads may block."""

    async def check(connection: RedisConnection) -> None:
        await require_primary(_Executor(connection))

    async def prepare(connection: RedisConnection) -> None:
        await check(connection)
        await record_partitions(_Executor(connection), settings.partitions)

    return RedisLink(
        settings.redis_target,
        name=name,
        timeout_s=settings.redis_timeout_s + patience_s,
        queue_max=RELAY_QUEUE_MAX,
        prepare=prepare,
        check=check,
        new_prices=lambda: SeenPrices(0, PriceCounts()),
    )
