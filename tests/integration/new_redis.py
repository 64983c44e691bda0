"""Declares a Redis new, as ``restore --empty`` does: tests of gateways run no archive."""

from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key
from pkg.stores.opening import open_partitions
from pkg.stores.redis_meta import RUN_ID, server_run_id
from pkg.stores.system import adopt_system, new_system


async def declare_new(redis_url: str, *, partitions: int) -> None:
    """Does nothing if it was opened before, or is away."""
    names = partition_names(partitions)
    async with Redis.from_url(redis_url) as redis:
        with suppress(RedisError, OSError):
            if not await redis.hexists(meta_key(names[0]), RUN_ID):
                await adopt_system(redis, names, new_system())
                run_id = await server_run_id(redis)
                await open_partitions(redis, names, run_id, partitions=partitions)
