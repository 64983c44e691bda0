"""An item leaves Redis only as the archive has it, and returns only if nothing happened since."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from pkg.auction.asking import ArchivedItem
from pkg.auction.departed import FILTER_BITS, bits_of
from pkg.auction.item import partition_of
from pkg.auction.keys import departed_key, item_key, meta_key
from pkg.stores.departures import FIND_ITEM, RETURN_ITEM, Departures
from tests.integration.providers import Stores

PARTITIONS = 4
VASE = ArchivedItem("vase", 7, 20000, "ann", "e7", 7, "2026-11-23T03:00:00.000001Z")
P = partition_of("vase", PARTITIONS)
ITEM, META, FILTER = item_key(P, "vase"), meta_key(P), departed_key(P)
HASH: dict[Any, Any] = {
    "price": "20000",
    "bidder": "ann",
    "seq": "7",
    "count": "7",
    "event_id": "e7",
    "opened_at": VASE.opened_at,
}
OPENING = "server:mark"


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[Redis]:
    async with Redis.from_url(stores.redis_url, decode_responses=True) as client:
        await client.hset(META, mapping={"run_id": OPENING, "items": 1})
        yield client


async def depart(redis: Redis, item: ArchivedItem = VASE, *, opening: str = OPENING) -> int:
    return await Departures(redis, partitions=PARTITIONS).depart([item], opening=opening)


async def put_back(
    redis: Redis, *, departures: int, opening: str = OPENING, items_max: int = 9
) -> Any:  # noqa: ANN401 - a reply
    values = (VASE.price_cents, VASE.bidder, VASE.seq, VASE.count, VASE.event_id, VASE.opened_at)
    return await redis.eval(
        RETURN_ITEM.decode(), 2, ITEM, META, opening, departures, items_max, *values
    )


async def find(redis: Redis, *, known_new: str = "", opening: str = OPENING) -> Any:  # noqa: ANN401
    return await redis.eval(FIND_ITEM.decode(), 3, ITEM, META, FILTER, opening, known_new)


async def test_item_that_the_archive_has_as_it_is_leaves_and_is_marked(redis: Redis) -> None:
    await redis.hset(ITEM, mapping=HASH)

    assert await depart(redis) == 1

    assert not await redis.exists(ITEM)
    assert await redis.hmget(META, "items", "departures") == ["0", "1"]
    assert await Departures(redis, partitions=PARTITIONS).departed(["vase", "lamp"]) == {"vase"}
    assert {bit for bit in bits_of(ITEM) if await redis.getbit(FILTER, bit)} == set(bits_of(ITEM))
    assert await redis.bitcount(FILTER) == len(set(bits_of(ITEM)))
    assert await redis.strlen(FILTER) * 8 <= FILTER_BITS


@pytest.mark.parametrize(
    "archived",
    [
        ArchivedItem("vase", 6, 20000, "ann", "e7", 7, VASE.opened_at),
        ArchivedItem("vase", 7, 19000, "ann", "e7", 7, VASE.opened_at),
        ArchivedItem("vase", 7, 20000, "bob", "e7", 7, VASE.opened_at),
        ArchivedItem("vase", 7, 20000, "ann", "e6", 7, VASE.opened_at),
        ArchivedItem("vase", 7, 20000, "ann", "e7", 6, VASE.opened_at),
    ],
)
async def test_item_that_the_archive_has_otherwise_stays(
    redis: Redis, archived: ArchivedItem
) -> None:
    await redis.hset(ITEM, mapping=HASH)

    assert await depart(redis, archived) == 0

    assert await redis.hgetall(ITEM) == HASH
    assert not await redis.exists(FILTER)


async def test_item_with_more_than_its_bids_stays(redis: Redis) -> None:
    """An auction that was set up has rules, or an end: it never leaves."""
    await redis.hset(ITEM, mapping=HASH | {"rules": "packed"})

    assert await depart(redis) == 0

    assert await redis.exists(ITEM)


async def test_nothing_leaves_a_redis_that_was_opened_again(redis: Redis) -> None:
    await redis.hset(ITEM, mapping=HASH)

    assert await depart(redis, opening="server:before") == 0

    assert await redis.exists(ITEM)


async def test_item_comes_back_as_it_left(redis: Redis) -> None:
    await redis.hset(ITEM, mapping=HASH)
    await depart(redis)
    assert await find(redis) == [-4, 1]

    assert await put_back(redis, departures=1) == 1

    assert await redis.hgetall(ITEM) == HASH
    assert await redis.hget(META, "items") == "1"
    assert await find(redis) == [1, 0]


async def test_outdated_answer_puts_nothing_back(redis: Redis) -> None:
    """It came back, got a bid and left again after the archive was asked."""
    await redis.hset(ITEM, mapping=HASH)
    await depart(redis)
    newer = HASH | {"seq": "8", "count": "8", "price": "30000", "event_id": "e8"}
    await redis.hset(ITEM, mapping=newer)
    await depart(redis, ArchivedItem("vase", 8, 30000, "ann", "e8", 8, VASE.opened_at))

    assert await put_back(redis, departures=1) == 0
    assert await find(redis, known_new="1") == [-4, 2]

    assert not await redis.exists(ITEM)


async def test_item_that_is_back_is_not_overwritten(redis: Redis) -> None:
    await redis.hset(ITEM, mapping=HASH | {"seq": "8"})
    await redis.hset(META, "departures", 1)

    assert await put_back(redis, departures=1) == 0

    assert await redis.hget(ITEM, "seq") == "8"


async def test_item_does_not_come_back_without_room_or_into_another_opening(redis: Redis) -> None:
    assert await put_back(redis, departures=0, items_max=1) == -3
    assert await put_back(redis, departures=0, opening="server:before") == -2

    assert not await redis.exists(ITEM)


async def test_item_is_new_if_unmarked_or_if_the_archive_did_not_have_it(redis: Redis) -> None:
    assert await find(redis) == [0, 1]
    for bit in bits_of(ITEM):
        await redis.setbit(FILTER, bit, 1)

    assert await find(redis) == [-4, 0]
    assert await find(redis, known_new="0") == [0, 1]
    assert await find(redis, opening="server:before") == [-2, 0]


async def test_only_what_redis_lacks_is_marked(redis: Redis) -> None:
    await redis.hset(ITEM, mapping=HASH)
    departures = Departures(redis, partitions=PARTITIONS)

    assert await departures.mark(["vase", "lamp"]) == {"lamp"}

    assert await departures.departed(["vase", "lamp"]) == {"lamp"}
    assert await redis.hget(meta_key(partition_of("lamp", PARTITIONS)), "departures") == "1"
