"""The relay's view of the outboxes in Redis."""

import asyncio
import gc

import pytest
from redis.asyncio import Redis

from pkg.api.errors import RedisUnavailable
from pkg.auction.item import partition_of
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
        await outbox.retire(PARTITION, ids[2], unarchived_from=ids[2])
        retired = await outbox.state(PARTITION)
        await outbox.trim_to(PARTITION, ids[4])
        done = await outbox.state(PARTITION)

    assert (empty.depth, empty.first_unarchived) == (0, None)
    assert (full.depth, full.first_unarchived) == (5, ids[0])
    assert (ahead.archived_to, ahead.depth, ahead.first_unarchived) == (ids[1], 5, ids[2])
    assert (retired.depth, retired.trimmed_to, retired.unarchived_from) == (2, ids[2], ids[2])
    assert (done.depth, done.archived_to) == (0, ids[4])
    assert abs(full.now_ms - ids[0].ms) < 60_000


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
