"""Items leave Redis when nobody bids on them, and come back at their next read or bid."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from pkg.api.app import Ledgers
from pkg.api.bidding.refusals import Refusals
from pkg.api.bidding.returning import Returning
from pkg.api.errors import Busy, MaybeArchived
from pkg.api.relay.idle_items import IdleCounts, IdleItems
from pkg.auction.bid import Accepted, Bid, Outcome, Strategy
from pkg.auction.departed import FILTER_BITS
from pkg.auction.ids import uuid7
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import departed_key, item_key, meta_key, witnessed_key
from pkg.runtime.background import ended
from pkg.runtime.nats_link import nats_link
from pkg.stores.archived_items import asking
from pkg.stores.departures import Departures
from pkg.stores.opening import require_open
from pkg.stores.redis_meta import ITEMS, RUN_ID
from pkg.trials.waiting import until
from tests.integration.api.parts import PARTITIONS, bid, ledgers, settings_for
from tests.integration.processes import Service, Services
from tests.integration.providers import Stores
from tests.integration.system.clients import viewers

VASE = item_key(partition_of("vase", PARTITIONS), "vase")
OLD = item_key(partition_of("old", PARTITIONS), "old")
META = meta_key(partition_of("vase", PARTITIONS))
IDLE = {"ITEM_IDLE_S": "1"}
HAMMERED_S = 8.0

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[Redis]:
    async with Redis.from_url(stores.redis_url) as client:
        yield client


async def get(api: Service, item: str = "vase") -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession(api.url) as client,
        client.get(f"/api/v1/items/{item}") as answer,
    ):
        return answer.status, json.loads(await answer.read(), parse_float=Decimal)


async def post(
    api: Service, cents: int, item: str = "vase", strategy: str = "lua"
) -> tuple[int, dict[str, Any]]:
    body = f'{{"user_id":"ann","amount":{cents / 100:.2f}}}'
    async with (
        aiohttp.ClientSession(api.url) as client,
        client.post(
            f"/api/v1/items/{item}/bid", data=body, headers={"X-Bid-Strategy": strategy}
        ) as answer,
    ):
        return answer.status, json.loads(await answer.read(), parse_float=Decimal)


async def metric(service: Service, name: str) -> float:
    async with aiohttp.ClientSession() as client, client.get(f"{service.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(
        float(line.split(" ")[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name
    )


async def departs(redis: Redis, api: Service, *, key: str = VASE) -> None:
    async def gone() -> bool:
        return not await redis.exists(key)

    await until(gone, within_s=20, log=lambda: api.log)


async def requires_audit(services: Services) -> dict[str, Any]:
    code, report, stderr = await services.run("archival", "audit", "--json", "--wait", "10")
    assert code == 0, report + stderr
    found: dict[str, Any] = json.loads(report)
    return found


@pytest.mark.parametrize("strategy", Strategy)
async def test_idle_item_leaves_and_its_next_bid_continues_where_it_was(
    services: Services, redis: Redis, strategy: Strategy
) -> None:
    await services.archival()
    api = await services.api(env=IDLE)
    for cents in (100, 200, 300):
        assert (await post(api, cents, strategy=strategy))[0] == 201
    before = await redis.hgetall(VASE)
    _, shown = await get(api)
    await departs(redis, api)
    assert (await requires_audit(services))["departed"] == 1
    assert await redis.hget(META, ITEMS) == b"0"

    refused = await post(api, 300, strategy=strategy)
    status, answer = await post(api, 400, strategy=strategy)

    assert (refused[0], refused[1]["current_bid"]) == (200, 3)
    assert (status, answer["seq"]) == (201, 4)
    after = await redis.hgetall(VASE)
    assert after[b"opened_at"] == before[b"opened_at"]
    assert after[b"count"] == b"4"
    _, again = await get(api)
    assert again | {"seq": 3, "current_bid": 3, "bid_count": 3} == shown
    assert await metric(api, "bid_items_departed_total") >= 1
    assert await metric(api, "bid_items_returned_total") >= 1
    await requires_audit(services)


async def test_read_brings_an_idle_item_back_whole(services: Services, redis: Redis) -> None:
    await services.archival()
    api = await services.api(env=IDLE)
    await post(api, 100)
    await post(api, 250)
    before = await redis.hgetall(VASE)
    shown = await get(api)
    await departs(redis, api)

    assert await get(api) == shown

    # A hash that is gone again came back and left once more: the counts say so.
    assert await redis.hgetall(VASE) in (before, {})
    assert await metric(api, "bid_items_returned_total") >= 1


@asynccontextmanager
async def in_process(
    stores: Stores, redis: Redis, *, items_max: int = 50_000
) -> AsyncIterator[tuple[Ledgers, Returning, IdleItems, IdleCounts]]:
    """A gateway that brings items back, and what lets them go, both without waiting."""
    settings = settings_for(stores, PRICE_CACHE_ITEMS="0", ITEMS_MAX=str(items_max))
    counts = IdleCounts()
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(ledgers(settings))
        link = await stack.enter_async_context(nats_link(settings, name="test"))
        await link.wait_connected()
        archive = await stack.enter_async_context(asking(link))
        returning = Returning(
            made.bids,
            archive,
            partitions=PARTITIONS,
            items_max=items_max,
            refusals=Refusals(),
        )
        idle = IdleItems(
            redis,
            Departures(redis, partitions=PARTITIONS),
            archive,
            partitions=PARTITIONS,
            idle_s=0.001,
            counts=counts,
        )
        yield made, returning, idle, counts


async def place(made: Ledgers, returning: Returning, strategy: Strategy, one: Bid) -> Outcome:
    ledger = made.of(strategy)
    try:
        return await ledger.place(one)
    except MaybeArchived as maybe:
        return await returning.place(ledger, one, maybe)


@pytest.mark.parametrize("strategies", [[Strategy.LUA], list(Strategy)], ids=["lua", "mixed"])
async def test_no_bid_is_lost_or_starts_from_zero_while_its_item_leaves_and_comes_back(
    services: Services, stores: Stores, redis: Redis, strategies: list[Strategy]
) -> None:
    await services.archival()
    await services.relay(env={"ITEM_IDLE_S": "0"})
    chance = random.Random(7)
    accepted: list[tuple[int, int]] = []
    cents = 0
    async with in_process(stores, redis) as (made, returning, idle, counts):
        opening = await require_open(redis, partition_names(PARTITIONS))

        async def let_go() -> None:
            while True:
                await idle.let_go(["vase"], opening=opening)
                await asyncio.sleep(0)

        async def bidder() -> None:
            nonlocal cents
            while asyncio.get_running_loop().time() < until_s:
                cents += 1
                mine = cents
                try:
                    outcome = await place(
                        made, returning, chance.choice(strategies), bid(mine, user="ann")
                    )
                except Busy:
                    continue
                if isinstance(outcome, Accepted):
                    accepted.append((outcome.seq, mine))
                await asyncio.sleep(chance.random() * 0.2)

        until_s = asyncio.get_running_loop().time() + HAMMERED_S
        letting_go = asyncio.create_task(let_go())
        try:
            await asyncio.gather(*(bidder() for _ in range(4)))
        finally:
            assert not letting_go.done()
            await ended(letting_go)

    accepted.sort()
    assert [seq for seq, _ in accepted] == list(range(1, len(accepted) + 1))
    assert all(lower < higher for (_, lower), (_, higher) in pairwise(accepted))
    assert min(counts.departed, returning.returned) > 10, (counts, returning.returned)
    assert (await requires_audit(services))["accepted"] == len(accepted)


async def test_without_the_archive_only_departed_items_are_refused(
    services: Services, redis: Redis
) -> None:
    archival = await services.archival()
    api = await services.api(env=IDLE)
    await post(api, 100)
    await departs(redis, api)
    await archival.replicas[0].end()

    for status, answer in (await post(api, 200), await get(api)):
        assert (status, answer["code"]) == (503, "archive_unavailable")
    assert (await post(api, 100, "new"))[0] == 201
    assert (await post(api, 200, "new"))[1]["seq"] == 2
    assert not await redis.exists(VASE)
    assert await metric(api, "bid_archive_lookups_failed_total") >= 2

    await services.archival()
    status, answer = await post(api, 200)
    assert (status, answer["seq"]) == (201, 2)


@pytest.mark.parametrize("strategy", Strategy)
async def test_new_item_that_the_filter_takes_for_a_departed_one_begins_at_one(
    services: Services, stores: Stores, redis: Redis, strategy: Strategy
) -> None:
    await services.archival()
    await services.relay(env={"ITEM_IDLE_S": "0"})
    for number in range(PARTITIONS):
        await redis.set(departed_key(f"p{number:02d}"), b"\xff" * (FILTER_BITS // 8))
    async with in_process(stores, redis) as (made, returning, _, _):
        outcomes = await asyncio.gather(
            *(place(made, returning, strategy, bid(100 + n)) for n in range(20))
        )

    seqs = sorted(each.seq for each in outcomes if isinstance(each, Accepted))
    assert seqs == list(range(1, len(seqs) + 1))
    assert await redis.hget(META, ITEMS) == b"1"


async def test_departed_item_that_has_no_room_is_read_but_not_bid_on(
    services: Services, stores: Stores, redis: Redis
) -> None:
    await services.archival()
    await services.relay(env={"ITEM_IDLE_S": "0"})
    async with in_process(stores, redis, items_max=1) as (made, returning, idle, counts):
        opening = await require_open(redis, partition_names(PARTITIONS))
        await made.lua.place(bid(100))

        async def left() -> bool:
            await idle.let_go(["vase"], opening=opening)
            return counts.departed == 1

        await until(left, within_s=10)
        other = next(
            f"i{n}" for n in range(99) if partition_of(f"i{n}", 4) == partition_of("vase", 4)
        )
        await made.lua.place(bid(100, item=other))

        with pytest.raises(MaybeArchived) as maybe:
            await made.items.read("vase")
        state = await returning.read(made.items, "vase", maybe.value)

        assert (state.seq, state.price_cents) == (1, 100)
        assert not await redis.exists(VASE)


@pytest.mark.parametrize("query", ["", "?mode=latest"])
async def test_viewer_of_an_item_that_leaves_sees_nothing_of_it(
    services: Services, redis: Redis, query: str
) -> None:
    await services.archival()
    api = await services.api(env=IDLE)
    broadcast = await services.broadcast(env={"REPAIR_S": "0.2"})
    await post(api, 100)
    await post(api, 200)

    async with viewers(broadcast, f"vase{query}", 1) as (early,):
        await departs(redis, api)
        reads = await metric(broadcast, "bid_repair_reads_total")

        async def read_often() -> bool:
            return await metric(broadcast, "bid_repair_reads_total") > reads + 10

        await until(read_often, within_s=10, log=lambda: broadcast.log)
        assert early.frames == []
        async with viewers(broadcast, f"vase{query}", 1) as (late,):
            assert (await post(api, 300))[1]["seq"] == 3
            await until(lambda: early.seq == late.seq == 3, within_s=10)

        assert {key: late.greeting[key] for key in ("seq", "current_bid")} == {
            "seq": 2,
            "current_bid": 2,
        }
        assert [frame["seq"] for frame in early.frames] == [3]
    assert await metric(broadcast, "bid_resets_total") == 0


async def test_first_viewer_of_a_departed_item_is_greeted_with_its_state(
    services: Services, redis: Redis
) -> None:
    archival = await services.archival()
    api = await services.api(env=IDLE)
    await post(api, 100)
    await departs(redis, api)
    broadcast = await services.broadcast()

    async with viewers(broadcast, "vase", 1) as (viewer,):
        greeting = viewer.greeting

    assert (greeting["seq"], greeting["highest_bidder_id"]) == (1, "ann")
    await archival.replicas[0].end()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with viewers(broadcast, "vase", 1):
            pass
    assert refused.value.status == 503
    async with viewers(broadcast, "never-seen", 1) as (viewer,):
        assert viewer.greeting["seq"] == 0


@pytest.mark.parametrize("name", ["bids", "rounds-3", "broadcast-service"])
async def test_nothing_leaves_while_a_service_of_the_release_before_is_connected(
    services: Services, stores: Stores, redis: Redis, name: str
) -> None:
    await services.archival()
    await services.relay(env={"ITEM_IDLE_S": "0"})
    async with (
        in_process(stores, redis) as (made, _, idle, counts),
        Redis.from_url(stores.redis_url, client_name=name) as old,
    ):
        await old.ping()
        opening = await require_open(redis, partition_names(PARTITIONS))
        await made.lua.place(bid(100))
        let_go = partial(idle.let_go, ["vase"], opening=opening)

        async def archived() -> bool:
            code, _, _ = await services.run("archival", "audit", "--wait", "5")
            return code == 0

        await until(archived, within_s=20)
        assert await let_go() == 0
        assert await redis.exists(VASE)

        await old.connection_pool.disconnect()

        async def left() -> bool:
            await let_go()
            return counts.departed == 1

        await until(left, within_s=10)


def an_hour_ago() -> str:
    """The event_id of a bid that was placed then."""
    ms, rest = int((time.time() - 3600) * 1000), uuid7()[15:]
    return f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7{rest}"


@pytest.mark.parametrize("idle_s", ["1800", "0"])
async def test_restore_leaves_idle_items_in_the_archive_and_they_come_back(
    services: Services, stores: Stores, redis: Redis, idle_s: str
) -> None:
    archival = await services.archival()
    api = await services.api(env={"ITEM_IDLE_S": "0"})
    async with ledgers(settings_for(stores)) as made:
        for cents in (100, 200):
            await made.lua.place(Bid("old", "ann", cents, an_hour_ago(), uuid7()))
    assert (await post(api, 500))[0] == 201
    before = await redis.hgetall(OLD)
    await requires_audit(services)
    await redis.flushall()

    code, said, stderr = await services.run(
        "archival", "restore", "--yes", env={"ITEM_IDLE_S": idle_s}
    )

    assert code == 0, said + stderr
    assert await redis.exists(VASE)
    assert await redis.hgetall(OLD) == ({} if int(idle_s) else before)
    assert (await requires_audit(services))["departed"] == (1 if int(idle_s) else 0)

    async def bids_again() -> bool:
        return (await post(api, 300, "old"))[0] == 201

    await until(bids_again, within_s=10, log=lambda: api.log + archival.log)
    assert await redis.hmget(OLD, "seq", "count", "opened_at") == [
        *(b"3", b"3", before[b"opened_at"])
    ]
    await requires_audit(services)
    code, said, stderr = await services.run("archival", "restore", "--dry-run")
    assert (code, "lacks nothing" in said) == (0, True), said + stderr


async def test_restore_of_an_open_redis_finds_nothing_to_do_for_departed_items(
    services: Services, redis: Redis
) -> None:
    await services.archival()
    api = await services.api(env=IDLE)
    await post(api, 100)
    await departs(redis, api)

    for idle_s in ("0", "1"):
        code, said, stderr = await services.run(
            "archival", "restore", "--yes", env={"ITEM_IDLE_S": idle_s}
        )
        assert (code, "lacks nothing" in said) == (0, True), said + stderr


async def test_bids_on_departed_items_are_not_reported_as_forgotten(
    services: Services, redis: Redis
) -> None:
    await services.archival()
    api = await services.api(env=IDLE)
    await post(api, 100)
    await departs(redis, api)
    await redis.delete(witnessed_key(partition_of("vase", PARTITIONS)))
    for name in partition_names(PARTITIONS):
        await redis.hset(meta_key(name), RUN_ID, "another server")

    async def reported() -> bool:
        return await redis.exists(witnessed_key(partition_of("vase", PARTITIONS))) == 1

    await until(reported, within_s=10, log=lambda: api.log)
    assert await metric(api, "bid_forgotten_bids_total") == 0
    await requires_audit(services)
