"""A gateway reports the bids it accepted to a Redis that forgot them."""

from typing import Any

import pytest
from redis.asyncio import Redis

from pkg.api.bidding.witness import Witness
from pkg.auction.bid import Accepted
from pkg.auction.item import partition_of
from pkg.auction.keys import witnessed_key
from pkg.auction.witnessed import Witnessed
from pkg.stores.redis_meta import NotOpenError
from tests.integration.api.parts import PARTITIONS, bid, ledgers, opened, settings_for
from tests.integration.providers import Stores

KEY = witnessed_key(partition_of("vase", PARTITIONS))


async def _accepted(stores: Stores, witness: Witness, *cents: int) -> list[Witnessed]:
    accepted = []
    async with ledgers(settings_for(stores)) as each:
        for amount in cents:
            placed = bid(amount)
            outcome = await each.lua.place(placed)
            assert isinstance(outcome, Accepted)
            witness.saw(placed, outcome.seq)
            accepted.append(Witnessed(placed.event_id, "vase", outcome.seq, "ann", amount))
    return accepted


async def _witnessed(redis: Redis) -> list[Witnessed]:
    found: Any = (await redis.hgetall(KEY)).items()
    bids = [Witnessed.parse(event.decode(), text.decode()) for event, text in found]
    return sorted(bids, key=lambda each: each.seq)


async def test_every_remembered_bid_is_reported_once_a_redis_that_forgot_is_open(
    stores: Stores,
) -> None:
    async with Redis.from_url(stores.redis_url) as redis:
        witness = Witness(redis, partitions=PARTITIONS, most=100)
        await opened(stores.redis_url)
        await witness.report()
        accepted = await _accepted(stores, witness, 100, 200, 300)

        await redis.flushall()
        with pytest.raises(NotOpenError):
            await witness.report()
        while_closed = await redis.exists(KEY)
        await opened(stores.redis_url)
        await witness.report()

        assert while_closed == 0
        assert await _witnessed(redis) == accepted
        assert await redis.ttl(KEY) > 0
        assert witness.forgotten == 3


async def test_bids_forgotten_twice_are_reported_twice_and_counted_once(stores: Stores) -> None:
    async with Redis.from_url(stores.redis_url) as redis:
        witness = Witness(redis, partitions=PARTITIONS, most=2)
        await opened(stores.redis_url)
        await witness.report()
        accepted = await _accepted(stores, witness, 100, 200, 300)

        for _ in range(2):
            await redis.flushall()
            await opened(stores.redis_url)
            await witness.report()

        assert await _witnessed(redis) == accepted[1:]
        assert witness.forgotten == 2


async def test_bids_without_room_are_dropped_and_counted(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkg.api.bidding.witness.WITNESSED_MAX", 2)
    monkeypatch.setattr("pkg.api.bidding.witness._PAGE", 1)
    async with Redis.from_url(stores.redis_url) as redis:
        witness = Witness(redis, partitions=PARTITIONS, most=100)
        await opened(stores.redis_url)
        await witness.report()
        accepted = await _accepted(stores, witness, 100, 200, 300)

        await redis.flushall()
        await opened(stores.redis_url)
        await witness.report()

        assert await _witnessed(redis) == accepted[1:]  # the newest are the likeliest to be lost
        assert witness.dropped == 1


async def test_nothing_is_reported_to_a_redis_that_never_forgot(stores: Stores) -> None:
    async with Redis.from_url(stores.redis_url) as redis:
        witness = Witness(redis, partitions=PARTITIONS, most=100)
        await opened(stores.redis_url)
        await witness.report()
        await _accepted(stores, witness, 100)

        await witness.report()

        assert not await redis.exists(KEY)
        assert witness.forgotten == 0
