"""The relay's view of the outboxes in Redis."""

import asyncio
import gc

import pytest
from redis.asyncio import Redis

from pkg.api.errors import RedisUnavailable
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import meta_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.trials.waiting import until
from tests.integration.api.parts import (
    PARTITIONS,
    bid,
    ledgers,
    outbox_entries,
    relay_outbox,
    settings_for,
)
from tests.integration.api.redis.proxy import proxy
from tests.integration.providers import Stores

PARTITION = partition_of("vase", PARTITIONS)


async def test_a_read_returns_entries_after_an_id_and_waits_for_new_ones(stores: Stores) -> None:
    settings = settings_for(stores)
    async with ledgers(settings) as made, relay_outbox(settings) as outbox:
        for cents in (100, 200):
            await made.lua.place(bid(cents))
        found = await outbox.read({PARTITION: BEGINNING, "p03": BEGINNING}, block_ms=1)
        position = found[PARTITION][-1].id
        waiting = asyncio.create_task(outbox.read({PARTITION: position}, block_ms=900))

        await made.lua.place(bid(300))

        later = await waiting
        assert list(found) == [PARTITION]
        assert len(found[PARTITION]) == 2
        assert b'"amount":3.00' in later[PARTITION][0].event
        assert await outbox.read({PARTITION: later[PARTITION][0].id}, block_ms=1) == {}


async def test_the_state_names_the_first_unarchived_entry(stores: Stores) -> None:
    settings = settings_for(stores)
    async with (
        ledgers(settings) as made,
        relay_outbox(settings) as outbox,
        Redis.from_url(stores.redis_url) as redis,
    ):
        empty = await outbox.state(PARTITION)
        for cents in range(1, 6):
            await made.lua.place(bid(cents))
        ids = [OutboxId.parse(entry) for entry, _ in await outbox_entries(redis, PARTITION)]
        full = await outbox.state(PARTITION)
        await redis.hset(meta_key(PARTITION), "archived_to", str(ids[1]))
        ahead = await outbox.state(PARTITION)
        depths = await outbox.depths()
        await outbox.trim_to(PARTITION, ids[4])
        done = await outbox.state(PARTITION)

    assert (empty.depth, empty.first_unarchived) == (0, None)
    assert (full.depth, full.first_unarchived) == (5, ids[0])
    assert (ahead.archived_to, ahead.depth, ahead.first_unarchived) == (ids[1], 5, ids[2])
    assert depths == dict.fromkeys(partition_names(PARTITIONS), 0) | {PARTITION: 5}
    assert (done.depth, done.archived_to) == (0, ids[4])
    assert abs(full.now_ms - ids[0].ms) < 60_000


async def test_what_left_the_outbox_unarchived_counts_until_all_of_it_is_archived(
    stores: Stores,
) -> None:
    settings = settings_for(stores)
    async with (
        ledgers(settings) as made,
        relay_outbox(settings) as outbox,
        Redis.from_url(stores.redis_url) as redis,
    ):
        for cents in range(1, 8):
            await made.lua.place(bid(cents))
        ids = [OutboxId.parse(entry) for entry, _ in await outbox_entries(redis, PARTITION)]
        removed = [
            await outbox.retire(PARTITION, most=2, through=ids[4]),
            await outbox.retire(PARTITION, most=9, through=ids[3]),
            await outbox.retire(PARTITION, most=9, through=ids[3]),
        ]
        left = [OutboxId.parse(entry) for entry, _ in await outbox_entries(redis, PARTITION)]
        retired = await outbox.state(PARTITION)
        await outbox.trim_to(PARTITION, ids[2])
        partly = await outbox.state(PARTITION)
        await outbox.trim_to(PARTITION, ids[3])
        all_archived = await outbox.state(PARTITION)
        await outbox.retire(PARTITION, most=1, through=ids[6])
        anew = await outbox.state(PARTITION)

    assert removed == [2, 2, 0]
    assert left == ids[4:]
    assert (retired.depth, retired.retired, retired.oldest) == (3, 4, ids[0])
    assert (partly.retired, partly.oldest) == (4, ids[2])
    assert (all_archived.retired, all_archived.oldest) == (0, ids[4])
    assert (anew.retired, anew.oldest) == (1, ids[4])


async def test_what_left_the_outbox_in_the_previous_release_counts_too(stores: Stores) -> None:
    """It recorded no number."""
    settings = settings_for(stores)
    async with relay_outbox(settings) as outbox, Redis.from_url(stores.redis_url) as redis:
        await redis.hset(meta_key(PARTITION), "archived_to", "50-0")
        await redis.hset(meta_key(PARTITION), "unarchived_from", "60-0")
        await redis.hset(meta_key(PARTITION), "trimmed_to", "70-0")

        state = await outbox.state(PARTITION)

    assert (state.depth, state.retired, state.oldest) == (0, 1, OutboxId(60, 0))


async def test_a_redis_lost_in_mid_command_raises_once_and_leaves_no_stray_error(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy(stores.redis_url) as between:
        settings = settings_for(stores, REDIS_URL=f"redis://{between.address}/0")
        async with relay_outbox(settings) as outbox:
            between.swallows_from = b"XLEN"
            waiting = asyncio.create_task(outbox.state(PARTITION))
            await until(lambda: between.swallowed, within_s=5)

            between.cut()

            with pytest.raises(RedisUnavailable):
                await waiting
            del waiting
            gc.collect()
            await asyncio.sleep(0)

    assert [record for record in caplog.records if record.name == "asyncio"] == []
