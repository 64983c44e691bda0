"""A bid's way through the load balancer: to its bidder, the viewers and the archive."""

import asyncio
from decimal import Decimal

import asyncpg
import pytest
from aiohttp import ClientSession

from pkg.trials.waiting import until
from tests.integration.cloud.deployment import Deployment

pytestmark = pytest.mark.timeout(1500)  # whichever is the first deploys


async def test_bid_reaches_its_bidder_a_viewer_and_the_archive(deployment: Deployment) -> None:
    api, websocket = deployment.output("alb_url"), deployment.output("ws_url")

    async with (
        asyncio.timeout(120),
        ClientSession() as session,
        session.ws_connect(f"{websocket}/ws/items/chair") as viewer,
    ):
        greeting = await viewer.receive_json()
        body = {"user_id": "ann", "amount": 12.5}
        async with session.post(f"{api}/api/v1/items/chair/bid", json=body) as answer:
            accepted = await answer.json()
        shown = await viewer.receive_json()
        async with session.post(f"{api}/api/v1/items/chair/bid", json=body) as answer:
            refused = await answer.json()
        async with session.get(f"{api}/api/v1/items/chair") as answer:
            item = await answer.json()

    assert (greeting["type"], greeting["seq"]) == ("connected", 0)
    assert (accepted["success"], accepted["seq"]) == (True, 1)
    assert (shown["event_id"], shown["amount"]) == (accepted["event_id"], 12.5)
    assert refused["reason"] == "too_low"
    assert (item["highest_bidder_id"], item["bid_count"]) == ("ann", 1)
    postgres = await asyncpg.connect(deployment.postgres_url)
    try:
        await until(
            lambda: postgres.fetchval("SELECT amount FROM bids WHERE item_id = 'chair'"),
            within_s=60,
            every_s=0.2,
            what="the bid is archived",
        )
        rows = await postgres.fetch("SELECT user_id, amount FROM bids WHERE item_id = 'chair'")
    finally:
        await postgres.close()
    assert [tuple(row) for row in rows] == [("ann", Decimal("12.50"))]


@pytest.mark.parametrize("path", ["/metrics", "/ready"])
async def test_internal_paths_are_hidden_by_the_load_balancer(
    deployment: Deployment, path: str
) -> None:
    async with (
        ClientSession() as session,
        session.get(deployment.output("alb_url") + path) as answer,
    ):
        assert answer.status == 404
        assert (await answer.json())["code"] == "not_found"
