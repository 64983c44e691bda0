"""The link to Redis on which bids are placed, and what the gateway knows of its connection."""

from dataclasses import dataclass
from pathlib import Path

from pkg.api.bidding.prices import PriceCounts, SeenPrices
from pkg.api.redis.connection import RedisConnection, pack
from pkg.api.redis.link import RedisLink
from pkg.auction.item import partition_names
from pkg.stores.departures import FINDS_DEPARTED
from pkg.stores.opening import require_open
from pkg.stores.redis_meta import (
    Executes,
    NotOpenError,
    UnfitRedisError,
    record_partitions,
)

PLACE_BID = (Path(__file__).parent / "place_bid.lua").read_bytes()
ENTRY_BYTES = 512
"""Memory of one outbox entry with the longest usual ids, Redis' own overhead included."""
ITEM_BYTES = 1024
"""Memory of one item whose id and bidder have 128 characters, its key included; usual ones: 280.
Redis 6.2 stores hashes with a value of over 64 characters less compactly.
"""
OUTBOXES_SHARE, ITEMS_SHARE = 0.5, 0.4


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
    items_max: int,
    price_cache_items: int,
    price_counts: PriceCounts,
    min_replicas: int = 0,
    quiet: bool = False,
) -> RedisLink[BidSession]:
    """Checks each connection's Redis and loads the script before any bid is placed on it."""
    names = partition_names(partitions)

    async def prepare(connection: RedisConnection) -> BidSession:
        await record_partitions(connection, names, partitions=partitions)
        await require_room(
            connection,
            partitions=partitions,
            outbox_max_entries=outbox_max_entries,
            items_max=items_max,
        )
        run_id = await require_open(connection, names)
        await connection.submit(pack("SCRIPT", "LOAD", PLACE_BID))
        return BidSession(connection, run_id, SeenPrices(price_cache_items, price_counts))

    async def check(session: BidSession) -> None:
        """FLUSHALL and demotion to a replica end no connection, and cached prices hide both."""
        if await require_open(session.connection, names) != session.run_id:
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
        client_name=name + FINDS_DEPARTED,
    )


async def require_room(
    redis: Executes, *, partitions: int, outbox_max_entries: int, items_max: int
) -> None:
    """Full outboxes, and as many items as may be, must fit into their shares of Redis' memory, so
    that they fill up before it does.

    Raises:
        UnfitRedisError: they would not.
    """
    memory = await redis.execute_command("INFO", "memory")
    limit = next(
        int(line.removeprefix(b"maxmemory:"))
        for line in bytes(memory).splitlines()
        if line.startswith(b"maxmemory:")
    )
    for setting, most, each_bytes, share, words in (
        ("OUTBOX_MAX_ENTRIES", outbox_max_entries, ENTRY_BYTES, OUTBOXES_SHARE, "half"),
        ("ITEMS_MAX", items_max, ITEM_BYTES, ITEMS_SHARE, "two fifths"),
    ):
        wanted = partitions * most * each_bytes
        if limit and wanted > limit * share:
            raise UnfitRedisError(
                f"{setting}={most} in {partitions} partitions "
                f"may take {wanted} bytes, more than {words} of this Redis' maxmemory of {limit}"
            )
