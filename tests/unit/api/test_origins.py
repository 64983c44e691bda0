"""Which web pages may bid, and what their browsers are told."""

import pytest

from tests.unit.api.gateways import RunningGateway
from tests.unit.api.http_client import RawClient, bid_request, request

ANN_200 = b'{"user_id":"ann","amount":200}'
SHOP = "https://shop.example"  # the gateway of these tests allows it; its own host is "a"


def from_page(origin: str) -> str:
    return f"Origin: {origin}\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://a.evil.example", "null", "https://[", "x" * 500]
)
async def test_a_page_of_another_origin_places_no_bid(
    client: RawClient, gateway: RunningGateway, origin: str
) -> None:
    reply = await client.ask(bid_request(ANN_200, headers=from_page(origin)))

    assert (reply.status, reply.code) == (403, "origin_refused")
    assert "access-control-allow-origin" not in reply.headers
    assert not gateway.ledger.placed


@pytest.mark.parametrize("origin", [SHOP, "http://a", "http://a:8080", "https://A"])
async def test_pages_that_are_allowed_and_our_own_bid_and_read_the_answer(
    client: RawClient, origin: str
) -> None:
    reply = await client.ask(bid_request(ANN_200, headers=from_page(origin)))

    assert reply.status == 201
    assert reply.headers["access-control-allow-origin"] == origin
    assert reply.headers["vary"] == "Origin"


async def test_a_client_that_is_no_browser_names_no_origin_and_bids(client: RawClient) -> None:
    reply = await client.ask(bid_request(ANN_200))

    assert reply.status == 201
    assert "vary" not in reply.headers


async def test_a_browser_that_asks_first_is_told_what_an_allowed_page_may_send(
    client: RawClient,
) -> None:
    ask = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n"

    reply = await client.ask(
        request("/api/v1/items/vase/bid", method="OPTIONS", headers=f"Origin: {SHOP}\r\n{ask}")
    )

    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == SHOP
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert "Content-Type" in reply.headers["access-control-allow-headers"]


async def test_a_browser_that_asks_first_for_another_page_is_refused(client: RawClient) -> None:
    ask = "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n"

    reply = await client.ask(request("/api/v1/items/vase/bid", method="OPTIONS", headers=ask))

    assert (reply.status, reply.code) == (403, "origin_refused")


async def test_other_pages_may_ask_to_read_but_their_browser_keeps_the_answer_from_them(
    client: RawClient,
) -> None:
    reply = await client.ask(
        request("/api/v1/items/vase", headers="Origin: https://evil.example\r\n")
    )

    assert reply.status == 200
    assert "access-control-allow-origin" not in reply.headers
    assert reply.headers["vary"] == "Origin"
