"""The link to Redis on which bids are placed, and what the gateway knows of its connection."""

from dataclasses import dataclass
from pathlib import Path

from pkg.api.bidding.prices import PriceCounts, SeenPrices
from pkg.api.redis.connection import RedisConnection, pack
from pkg.api.redis.link import RedisLink
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

PLACE_BID = (Path(__file__).parent / "place_bid.lua").read_bytes()
ENTRY_BYTES = 512
"""Memory of one outbox entry with the longest usual ids, Redis' own overhead included."""


@dataclass(frozen=True, slots=True)
class BidSession:
    """A connection with what holds only as long as it does."""

    connection: RedisConnection
    run_id: str
    """The server's run id and opening, as recorded; every bid carries it (see place_bid.lua)."""
    prices: SeenPrices


def bid_link(
    target: str,
    *,
    name: str,
    timeout_s: float,
    queue_max: int,
    partitions: int,
    outbox_max_entries: int,
    price_cache_items: int,
    price_counts: PriceCounts,
    min_replicas: int = 0,
    quiet: bool = False,
) -> RedisLink[BidSession]:
    """Checks each connection's Redis and loads the script before any bid is placed on it."""

    async def prepare(connection: RedisConnection) -> BidSession:
        await record_partitions(connection, partitions)
        await require_room(connection, partitions=partitions, outbox_max_entries=outbox_max_entries)
        run_id = await require_open(connection, partitions)
        await connection.submit(pack("SCRIPT", "LOAD", PLACE_BID))
        return BidSession(connection, run_id, SeenPrices(price_cache_items, price_counts))

    async def check(session: BidSession) -> None:
        """FLUSHALL and demotion to a replica end no connection, and cached prices hide both."""
        await require_primary(session.connection)
        recorded = await session.connection.submit_all(
            *(pack("HGET", meta_key(name), RUN_ID) for name in partition_names(partitions))
        )
        if any(each != session.run_id.encode() for each in recorded):
            raise NotOpenError("its data is gone or was restored")

    return RedisLink(
        target,
        name=name,
        timeout_s=timeout_s,
        queue_max=queue_max,
        prepare=prepare,
        check=check,
        min_replicas=min_replicas,
        quiet=quiet,
    )


async def require_room(redis: Executes, *, partitions: int, outbox_max_entries: int) -> None:
    """Full outboxes must fit into half of Redis' memory, so that they fill up before it does.

    Raises:
        UnfitRedisError: they would not.
    """
    memory = await redis.execute_command("INFO", "memory")
    limit = next(
        int(line.removeprefix(b"maxmemory:"))
        for line in bytes(memory).splitlines()
        if line.startswith(b"maxmemory:")
    )
    wanted = partitions * outbox_max_entries * ENTRY_BYTES
    if limit and wanted > limit / 2:
        raise UnfitRedisError(
            f"OUTBOX_MAX_ENTRIES={outbox_max_entries} in {partitions} partitions "
            f"may take {wanted} bytes, more than half of this Redis' maxmemory of {limit}"
        )
