"""The gateway's connections to a real Redis: accounts, TLS, lost replies, lost data."""

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from pkg.api.errors import OutcomeUnknown, RedisRecovering, RedisUnavailable
from pkg.api.redis.connection import pack
from pkg.auction.bid import Accepted, Strategy, TooLow
from pkg.trials.waiting import until
from tests.integration.api.parts import bid, decoded_outbox, ledgers, opened, settings_for, up
from tests.integration.api.redis.proxy import proxy
from tests.integration.processes import Services
from tests.integration.providers import Servers, Stores


@pytest.fixture
def bidder_account(stores: Stores) -> Iterator[str]:
    """`user:password@` of an ACL user."""
    with BlockingRedis.from_url(stores.redis_url) as client:
        client.execute_command("ACL", "SETUSER", "bidder", "on", ">p@ss:w/rd%", "~*", "+@all")
        yield "bidder:p%40ss%3Aw%2Frd%25@"
        client.execute_command("ACL", "DELUSER", "bidder")


def _at(url: str, credentials: str = "", database: int = 0) -> str:
    address = url.removeprefix("redis://").partition("/")[0]
    return f"redis://{credentials}{address}/{database}"


async def test_an_acl_user_may_bid(stores: Stores, bidder_account: str) -> None:
    target = _at(stores.redis_url, bidder_account)
    async with ledgers(settings_for(stores, REDIS_URL=target)) as made:
        assert await made.lua.place(bid(100)) == Accepted(1)
        who = await made.bids.current().connection.submit(pack("ACL", "WHOAMI"))

    assert who == b"bidder"


async def test_a_wrong_password_is_down_and_bids_are_unavailable(
    stores: Stores, bidder_account: str
) -> None:
    del bidder_account
    target = _at(stores.redis_url, "bidder:wrong@")
    async with ledgers(settings_for(stores, REDIS_URL=target), wait=False) as made:
        await until(lambda: made.bids.probe() == "down", within_s=5)
        with pytest.raises(RedisUnavailable):
            await made.lua.place(bid(100))


async def test_bids_go_to_the_database_in_the_url(stores: Stores) -> None:
    target = _at(stores.redis_url, database=5)
    async with ledgers(settings_for(stores, REDIS_URL=target)) as made:
        await made.lua.place(bid(100))
        await made.optimistic.place(bid(200))

    async with Redis.from_url(target) as there, Redis.from_url(stores.redis_url) as elsewhere:
        assert len((await decoded_outbox(there))["vase"]) == 2
        assert await elsewhere.dbsize() == 0


async def test_tls_to_a_plain_redis_is_down_and_leaves_it_working(stores: Stores) -> None:
    target = stores.redis_url.replace("redis://", "rediss://", 1)
    settings = settings_for(stores, REDIS_URL=target, REDIS_TIMEOUT_S="0.5")
    async with ledgers(settings, wait=False) as made:
        await until(lambda: made.bids.probe() == "down", within_s=5)

    async with ledgers(settings_for(stores)) as plain:
        assert await plain.lua.place(bid(100)) == Accepted(1)


async def test_a_gateway_with_other_partitions_is_unready_and_logs_why(
    services: Services,
) -> None:
    await services.api()

    other = await services.api(env={"PARTITIONS": "8", "START_GRACE_S": "0.2"}, wait=False)

    replica = other.replicas[0]
    await until(lambda: "PARTITIONS=4" in replica.log, within_s=10, log=lambda: replica.log)
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{replica.admin_url}/ready") as answer,
    ):
        assert answer.status == 503
        assert (await answer.json())["checks"]["redis"] == "refused"
    said = [line for line in replica.log.splitlines() if "PARTITIONS=4" in line]
    assert len([line for line in said if "connection=bids" in line]) == 1


async def test_a_redis_that_starts_after_the_gateway_is_used(
    servers: Servers, services: Services
) -> None:
    await services.declare_new()
    servers.stop("redis")
    api = await services.api(env={"START_GRACE_S": "0.1"}, wait=False)
    async with aiohttp.ClientSession(api.url) as client:

        async def answers() -> int:
            async with client.get("/api/v1/items/vase") as answer:
                return answer.status

        refused = (aiohttp.ClientError,)
        assert await until(answers, within_s=10, forgiving=refused) == 503

        servers.start("redis")

        await api.replicas[0].becomes_ready()
        async with client.post(
            "/api/v1/items/vase/bid", data=b'{"user_id":"ann","amount":1}'
        ) as answer:
            assert answer.status == 201


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_bid_whose_reply_is_lost_is_unknown_and_never_resent(
    stores: Stores, redis: Redis, strategy: Strategy
) -> None:
    async with proxy(stores.redis_url) as between:
        # Replies are dropped from the write on: an optimistic round's reads are answered.
        verb = b"EVALSHA" if strategy is Strategy.LUA else b"EXEC"
        between.swallows_from = verb
        settings = settings_for(
            stores, REDIS_URL=f"redis://{between.address}/0", REDIS_TIMEOUT_S="1.5"
        )
        async with ledgers(settings) as made:
            with pytest.raises(OutcomeUnknown):
                await made.of(strategy).place(bid(100))

            await up(made)
            assert between.heard.count(verb) == 1
            between.swallows_from = None
            outcome = await until(
                lambda: made.of(strategy).place(bid(200)),
                within_s=5,
                forgiving=(RedisUnavailable,),
            )
            assert outcome == Accepted(2)
            assert [event.seq for event in (await decoded_outbox(redis))["vase"]] == [1, 2]


async def test_every_bid_in_flight_on_a_lost_connection_is_unknown(
    stores: Stores, redis: Redis
) -> None:
    async with proxy(stores.redis_url) as between:
        settings = settings_for(stores, REDIS_URL=f"redis://{between.address}/0")
        async with ledgers(settings) as made:
            between.swallows_from = b"EVALSHA"
            waiting = asyncio.gather(
                *(made.lua.place(bid(cents)) for cents in range(1, 51)), return_exceptions=True
            )
            await until(lambda: _all_written(redis, 50), within_s=5)
            await until(lambda: between.swallowed, within_s=5)

            between.cut()

            assert {type(each) for each in await waiting} == {OutcomeUnknown}
            assert len((await decoded_outbox(redis))["vase"]) == 50


async def _all_written(redis: Redis, count: int) -> bool:
    return len((await decoded_outbox(redis)).get("vase", ())) == count


async def test_a_lost_reply_is_answered_503_over_http(stores: Stores, services: Services) -> None:
    async with proxy(stores.redis_url) as between:
        api = await services.api(
            env={
                "REDIS_URL": f"redis://{between.address}/0",
                "REDIS_TIMEOUT_S": "1.5",
                "RELAY_ENABLED": "false",
            },
            wait=False,
        )
        await opened(stores.redis_url)
        await api.replicas[0].becomes_ready()
        between.swallows_from = b"EVALSHA"
        async with (
            aiohttp.ClientSession(api.url) as client,
            client.post("/api/v1/items/vase/bid", data=b'{"user_id":"ann","amount":1}') as answer,
        ):
            body = await answer.json()

    assert (answer.status, body["code"]) == (503, "outcome_unknown")
    assert body["error"] == "The bid may have been accepted; read the item"
    assert answer.headers["Retry-After"] == "1"


async def test_prices_cached_before_a_reconnect_are_forgotten(stores: Stores, redis: Redis) -> None:
    """Redis came back empty, so an old price must not refuse bids."""
    async with ledgers(settings_for(stores)) as made:
        for strategy in Strategy:
            item = f"item-{strategy}"
            await made.of(strategy).place(bid(50000, item=item))
            assert await made.of(strategy).place(bid(40000, item=item)) == TooLow(50000)
        connects = made.bids.connects

        await redis.flushall()
        await opened(stores.redis_url)
        await redis.client_kill_filter(_type="normal", skipme=True)

        await until(lambda: made.bids.connects > connects, within_s=5)
        await up(made)
        for strategy in Strategy:
            assert await made.of(strategy).place(bid(40000, item=f"item-{strategy}")) == Accepted(1)


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_redis_emptied_under_its_connection_accepts_no_bid_until_it_is_opened(
    stores: Stores, redis: Redis, strategy: Strategy
) -> None:
    async with ledgers(settings_for(stores)) as made:
        await made.of(strategy).place(bid(50000))

        await redis.flushall()

        with pytest.raises(RedisRecovering):
            await made.of(strategy).place(bid(60000))
        with pytest.raises((RedisRecovering, RedisUnavailable)):
            await made.items.read("vase")
        assert await redis.exists("{p01}:item:vase", "{p01}:outbox") == 0
        await opened(stores.redis_url)
        outcome = await until(
            lambda: made.of(strategy).place(bid(100)),
            within_s=5,
            forgiving=(RedisUnavailable, RedisRecovering),
        )
        assert outcome == Accepted(1)
