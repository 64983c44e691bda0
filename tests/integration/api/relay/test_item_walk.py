"""The number of a partition's items stays right, whoever makes them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from zlib import crc32

import pytest
from redis.asyncio import Redis

from pkg.api.relay.item_walk import STEP_KEYS, ItemCounts, ItemWalk
from pkg.api.relay.lease import Lease
from pkg.auction.item import partition_name, partition_of
from pkg.auction.keys import item_key, meta_key
from pkg.runtime.background import ended
from pkg.stores.redis_meta import ITEMS, NotOpenError
from pkg.trials.waiting import until
from tests.integration.api.parts import PARTITIONS, bid, ledgers, opened, settings_for
from tests.integration.providers import Stores


@asynccontextmanager
async def held(redis: Redis) -> AsyncIterator[Lease]:
    lease = Lease(redis)
    task = asyncio.create_task(lease.keep())
    try:
        await lease.wait_held()
        yield lease
    finally:
        await ended(task)


def walk_of(redis: Redis, lease: Lease, *, pause_s: float = 0.0) -> tuple[ItemWalk, ItemCounts]:
    counts = ItemCounts()
    return ItemWalk(redis, lease, partitions=PARTITIONS, counts=counts, pause_s=pause_s), counts


async def made_by_the_release_before(redis: Redis, number: int) -> dict[str, int]:
    """Items that nobody counted; returns how many there are, by partition."""
    made = dict.fromkeys(map(partition_name, range(PARTITIONS)), 0)
    async with redis.pipeline(transaction=False) as pipeline:
        for n in range(number):
            item = f"old-{n}"
            partition = partition_name(crc32(item.encode()) % PARTITIONS)
            pipeline.hset(item_key(partition, item), mapping={"price": 100, "seq": 1, "count": 1})
            made[partition] += 1
        await pipeline.execute()
    return made


async def counted(redis: Redis) -> dict[str, int]:
    return {
        name: int(await redis.hget(meta_key(name), ITEMS) or 0)
        for name in map(partition_name, range(PARTITIONS))
    }


async def test_items_of_a_release_that_kept_no_count_are_counted(
    stores: Stores, redis: Redis
) -> None:
    await opened(stores.redis_url)
    made = await made_by_the_release_before(redis, 3 * STEP_KEYS)
    async with held(redis) as lease:
        walk, counts = walk_of(redis, lease)

        await walk.walk()
        await walk.walk()

    assert await counted(redis) == made
    assert counts.corrected == 3 * STEP_KEYS


@pytest.mark.parametrize("off", [-3, 5])
async def test_a_count_that_is_off_is_corrected(stores: Stores, redis: Redis, off: int) -> None:
    async with ledgers(settings_for(stores)) as made:
        await made.lua.place(bid(100))
    partition = partition_of("vase", PARTITIONS)
    await redis.hincrby(meta_key(partition), ITEMS, off)
    async with held(redis) as lease:
        walk, _ = walk_of(redis, lease)

        await walk.walk()

    assert (await counted(redis))[partition] == 1


async def test_items_made_during_a_walk_do_not_put_the_count_off(
    stores: Stores, redis: Redis
) -> None:
    old = await made_by_the_release_before(redis, 4 * STEP_KEYS)
    async with ledgers(settings_for(stores)) as made, held(redis) as lease:
        for name, number in old.items():
            await redis.hset(meta_key(name), ITEMS, number)
        walk, counts = walk_of(redis, lease, pause_s=0.02)
        walking = asyncio.create_task(walk.walk())
        new = 0
        while not walking.done():
            await made.lua.place(bid(100, item=f"new-{new}"))
            new += 1
        await walking

    assert new > 1
    assert sum((await counted(redis)).values()) == 4 * STEP_KEYS + new
    assert counts.corrected == 0


async def test_nothing_is_corrected_on_a_redis_that_is_not_open(
    stores: Stores, redis: Redis
) -> None:
    await made_by_the_release_before(redis, 10)
    async with held(redis) as lease:
        walk, _ = walk_of(redis, lease)

        with pytest.raises(NotOpenError):
            await walk.walk()

    assert not any((await counted(redis)).values())


async def test_every_process_shows_the_counts(stores: Stores, redis: Redis) -> None:
    async with ledgers(settings_for(stores)) as made:
        await made.lua.place(bid(100))
    walk, counts = walk_of(redis, Lease(redis))
    task = asyncio.create_task(walk.watch())
    try:
        await until(lambda: sum(counts.items.values()) == 1, within_s=5)
    finally:
        await ended(task)
