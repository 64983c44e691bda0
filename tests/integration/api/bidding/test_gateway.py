"""The gateway as a process: its contract over HTTP on real Redis and NATS, end to end."""

import aiohttp
import pytest
from redis.asyncio import Redis

from pkg.stores.departures import FINDS_DEPARTED
from tests.integration.processes import Services
from tests.unit.api.http_client import raw_client, request


@pytest.mark.parametrize("strategy", ["lua", "optimistic"])
async def test_an_accepted_bid_answers_201_and_shows_in_the_item(
    services: Services, strategy: str
) -> None:
    api = await services.api(env={"BID_STRATEGY": strategy})
    async with aiohttp.ClientSession(api.url) as client:
        async with client.post(
            "/api/v1/items/vase/bid", data=b'{"user_id":"ann","amount":200}'
        ) as answer:
            body = await answer.text()
        async with client.get("/api/v1/items/vase") as shown:
            item = await shown.json()

    assert answer.status == 201
    assert '"current_bid":200.00,"your_bid":200.00,"is_highest":true' in body
    assert (item["current_bid"], item["highest_bidder_id"], item["seq"]) == (200, "ann", 1)


async def test_every_replica_has_an_admin_address_of_its_own(services: Services) -> None:
    api = await services.api(replicas=2)
    async with aiohttp.ClientSession() as client:
        for replica in api.replicas:
            async with client.get(f"{replica.admin_url}/health") as health:
                assert (await health.json())["service"] == "api-gateway"
            async with client.get(f"{replica.admin_url}/metrics") as metrics:
                text = await metrics.text()

    for name in (
        *("bid_requests_total", "bid_accepted_total", "bid_place_seconds_bucket"),
        *("bid_relay_lag_seconds_bucket", "bid_relay_leader", "bid_outbox_depth"),
    ):
        assert name in text


async def test_the_strategy_header_is_refused_if_overriding_is_off(services: Services) -> None:
    api = await services.api(env={"BID_STRATEGY_OVERRIDE": "false"})
    async with (
        aiohttp.ClientSession(api.url) as client,
        client.post(
            "/api/v1/items/vase/bid",
            data=b'{"user_id":"ann","amount":200}',
            headers={"X-Bid-Strategy": "lua"},
        ) as answer,
    ):
        body = await answer.json()

    assert (answer.status, body["code"]) == (400, "strategy_override_off")


@pytest.mark.parametrize(
    ("strategy", "override", "rounds"),
    [("lua", "false", 0), ("optimistic", "false", 3), ("lua", "true", 3)],
)
async def test_connections_for_rounds_are_opened_only_where_these_can_be_chosen(
    services: Services, redis: Redis, strategy: str, override: str, rounds: int
) -> None:
    await services.api(
        env={
            "BID_STRATEGY": strategy,
            "BID_STRATEGY_OVERRIDE": override,
            "OPTIMISTIC_CONNECTIONS": "3",
        }
    )

    names = [client["name"] for client in await redis.client_list()]

    assert names.count("bids" + FINDS_DEPARTED) == 1
    assert sorted(name for name in names if name.startswith("rounds-")) == [
        f"rounds-{number}{FINDS_DEPARTED}" for number in range(rounds)
    ]


async def test_a_process_that_got_garbage_keeps_serving_and_logs_no_traceback(
    services: Services,
) -> None:
    api = await services.api()
    port = int(api.url.rpartition(":")[2])
    for garbage in (b"\x16\x03\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\nA\r\n\r\n", b"\x00" * 90_000):
        async with raw_client(port) as stranger:
            await stranger.send(garbage)
            assert (await stranger.reply()).status == 400

    async with raw_client(port) as client:
        assert (await client.ask(request("/api/v1/items/vase"))).status == 200
    assert "Traceback" not in api.log
