"""The gateway's contract over HTTP, against real Redis and NATS."""

import aiohttp
import pytest

from tests.integration.processes import Services
from tests.waiting import until


@pytest.mark.parametrize("strategy", ["lua", "optimistic"])
async def test_an_accepted_bid_answers_201_and_shows_in_the_item(
    services: Services, strategy: str
) -> None:
    api = await services.api()
    async with aiohttp.ClientSession(api.url, headers={"X-Bid-Strategy": strategy}) as client:
        async with client.post(
            "/api/v1/items/vase/bid", data=b'{"user_id":"ann","amount":200}'
        ) as answer:
            body = await answer.text()

        assert answer.status == 201
        assert '"current_bid":200.00,"your_bid":200.00,"is_highest":true' in body
        async with client.get("/api/v1/items/vase") as answer:
            item = await answer.json()
            print(await answer.text(), answer.headers)
    assert item["current_bid"] == 200
