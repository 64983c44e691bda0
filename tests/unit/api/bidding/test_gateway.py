"""The gateway's contract: exact bodies, routes, refusals and unavailability."""

import pytest

from pkg.api.errors import (
    Busy,
    ItemsFull,
    OutboxFull,
    OutcomeUnknown,
    RedisRecovering,
    RedisUnavailable,
    Unavailable,
)
from pkg.auction.item import ItemState
from pkg.trials.waiting import until
from tests.unit.api.gateways import RunningGateway, running_gateway
from tests.unit.api.http_client import RawClient, bid_request, raw_client, request

ANN_200 = b'{"user_id":"ann","amount":200}'


async def test_an_accepted_bid_is_answered_201_with_the_exact_body(
    client: RawClient, gateway: RunningGateway
) -> None:
    reply = await client.ask(bid_request(ANN_200))

    event_id = gateway.ledger.placed[0].event_id
    assert reply.status == 201
    assert reply.headers["content-type"] == "application/json"
    assert reply.body.decode() == (
        '{"success":true,"message":"Bid placed successfully!","current_bid":200.00,'
        f'"your_bid":200.00,"is_highest":true,"event_id":"{event_id}","seq":1}}'
    )


async def test_an_equal_bid_is_refused_as_too_low(client: RawClient) -> None:
    await client.ask(bid_request(ANN_200))

    reply = await client.ask(bid_request(b'{"user_id":"bob","amount":2.0e2}'))

    assert reply.status == 200
    assert reply.body.decode() == (
        '{"success":false,"message":"Bid too low. Current highest bid is $200.00",'
        '"reason":"too_low","current_bid":200.00,"your_bid":200.00,"is_highest":false}'
    )


async def test_an_item_with_bids_is_answered_with_the_exact_body(client: RawClient) -> None:
    await client.ask(bid_request(b'{"user_id":"ann","amount":1234567.5}'))

    reply = await client.ask(request("/api/v1/items/vase"))

    assert reply.status == 200
    assert reply.body.decode() == (
        '{"id":"vase","name":"vase","description":"","start_price":0.00,'
        '"current_bid":1234567.50,"highest_bidder_id":"ann","status":"active",'
        '"seq":1,"bid_count":1,"start_time":"2026-01-01T00:00:00.000000Z","end_time":null}'
    )


async def test_an_item_without_bids_has_no_bidder(client: RawClient) -> None:
    reply = await client.ask(request("/api/v1/items/lamp?x=1"))

    assert reply.status == 200
    assert reply.body.decode() == (
        '{"id":"lamp","name":"lamp","description":"","start_price":0.00,"current_bid":0.00,'
        '"status":"active","seq":0,"bid_count":0,"start_time":null,"end_time":null}'
    )


async def test_health_names_the_service_and_the_time(client: RawClient) -> None:
    reply = await client.ask(request("/health"))

    assert reply.status == 200
    assert reply.json["status"] == "healthy"
    assert reply.json["service"] == "api-gateway"
    assert reply.json["time"].endswith("Z")


async def test_unready_is_a_503_with_the_checks(client: RawClient, gateway: RunningGateway) -> None:
    gateway.readiness.watch("redis", lambda: "down")

    reply = await client.ask(request("/ready"))

    assert (reply.status, reply.json) == (503, {"ready": False, "checks": {"redis": "down"}})


@pytest.mark.parametrize(
    "target",
    [
        *("/", "/api", "/api/v1/items", "/healthz", "/health/", "/api/v2/items/vase", "//health"),
        *("/api/v1/items/vase/bids", "/api/v1/items/vase/bid/", "/api/v1/items/a/b/bid"),
        *("/api/v1/items/a/b", "/%68ealth"),
    ],
)
async def test_an_unknown_route_is_404_in_json(client: RawClient, target: str) -> None:
    reply = await client.ask(request(target))

    assert (reply.status, reply.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("GET", "/api/v1/items/vase/bid", "POST"),
        ("HEAD", "/api/v1/items/vase/bid", "POST"),
        ("PUT", "/api/v1/items/vase/bid", "POST"),
        ("OPTIONS", "/api/v1/items/vase/bid", "POST"),
        ("POST", "/api/v1/items/vase", "GET, HEAD"),
        ("DELETE", "/api/v1/items/vase", "GET, HEAD"),
        ("OPTIONS", "/api/v1/items/vase", "GET, HEAD"),
        ("PATCH", "/health", "GET, HEAD"),
        ("PUT", "/ready", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405_in_json(
    client: RawClient, method: str, target: str, allow: str
) -> None:
    await client.send(request(target, method=method))

    reply = await client.reply(head_only=method == "HEAD")
    assert (reply.status, reply.headers["allow"]) == (405, allow)
    if method != "HEAD":
        assert reply.code == "method_not_allowed"


@pytest.mark.parametrize("target", ["/health", "/ready", "/metrics", "/api/v1/items/vase", "/no"])
async def test_head_is_answered_like_get_without_the_body(client: RawClient, target: str) -> None:
    asked = await client.ask(request(target))

    await client.send(request(target, method="HEAD") + request("/health"))

    reply = await client.reply(head_only=True)
    assert reply.status == asked.status
    assert reply.headers.keys() == asked.headers.keys()
    assert abs(int(reply.headers["content-length"]) - len(asked.body)) < 50
    assert (await client.reply()).json["status"] == "healthy"


@pytest.mark.parametrize(
    "item",
    [
        *("", "%20", "a%20b", "%2F", "a%2Fb", "%00", "%zz", "%", "%C3%A9", "%FF", "a" * 129),
        *("a%0Ab", "a+b", "a,b", "a~b", "{a}", "a*", "a@b", "%ED%A0%80"),
    ],
)
@pytest.mark.parametrize("end", ["", "/bid"])
async def test_an_invalid_item_id_is_400(client: RawClient, item: str, end: str) -> None:
    if end:
        reply = await client.ask(bid_request(ANN_200, item=item))
    else:
        reply = await client.ask(request(f"/api/v1/items/{item}"))

    assert (reply.status, reply.code) == (400, "item_id_invalid")


@pytest.mark.parametrize(
    ("item", "meant"),
    [
        ("a.b_c:d-E9", "a.b_c:d-E9"),
        ("%76ase", "vase"),
        ("a%3Ab", "a:b"),
        ("..", ".."),
        ("a" * 128, "a" * 128),
        ("bid", "bid"),
    ],
)
async def test_an_item_id_is_percent_decoded(
    client: RawClient, gateway: RunningGateway, item: str, meant: str
) -> None:
    bid = await client.ask(bid_request(ANN_200, item=item))
    read = await client.ask(request(f"/api/v1/items/{item}"))

    assert bid.status == 201
    assert gateway.ledger.placed[0].item_id == meant
    assert (read.json["id"], read.json["seq"]) == (meant, 1)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RedisUnavailable(), "redis_unavailable"),
        (RedisRecovering(), "redis_recovering"),
        (Busy(), "busy"),
        (OutboxFull(), "outbox_full"),
        (ItemsFull(), "items_full"),
        (OutcomeUnknown(), "outcome_unknown"),
    ],
)
async def test_unavailability_is_503_with_retry_after(
    client: RawClient, gateway: RunningGateway, error: Unavailable, code: str
) -> None:
    gateway.ledger.fails = error

    reply = await client.ask(bid_request(ANN_200))

    assert (reply.status, reply.code) == (503, code)
    assert int(reply.headers["retry-after"]) >= 1
    assert gateway.metrics.errors == {code: 1}
    assert (await client.ask(request("/health"))).status == 200


async def test_an_unknown_outcome_tells_the_client_to_read_the_item(
    client: RawClient, gateway: RunningGateway
) -> None:
    gateway.ledger.fails = OutcomeUnknown()

    reply = await client.ask(bid_request(ANN_200))

    assert reply.json["error"] == "The bid may have been accepted; read the item"


async def test_a_defect_is_500_in_json_and_keeps_the_connection(
    client: RawClient, gateway: RunningGateway
) -> None:
    gateway.ledger.fails = ZeroDivisionError("a defect")

    reply = await client.ask(bid_request(ANN_200))

    assert (reply.status, reply.code) == (500, "internal_error")
    assert "defect" not in reply.body.decode()
    assert (await client.ask(request("/health"))).status == 200


@pytest.mark.parametrize(("name", "used"), [("lua", 0), ("optimistic", 1)])
async def test_a_header_chooses_the_strategy(
    client: RawClient, gateway: RunningGateway, name: str, used: int
) -> None:
    reply = await client.ask(bid_request(ANN_200, headers=f"X-Bid-Strategy: {name}\r\n"))

    assert reply.status == 201
    placed = [len(gateway.ledger.placed), len(gateway.optimistic.placed)]
    assert placed == [1 - used, used]


@pytest.mark.parametrize("name", ["LUA", "pessimistic", ""])
async def test_an_unknown_strategy_is_400(client: RawClient, name: str) -> None:
    reply = await client.ask(bid_request(ANN_200, headers=f"X-Bid-Strategy: {name}\r\n"))

    assert (reply.status, reply.code) == (400, "strategy_unknown")


async def test_a_strategy_header_is_400_if_overriding_is_off() -> None:
    async with running_gateway(strategy_override=False) as gateway, raw_client(gateway.port) as one:
        reply = await one.ask(bid_request(ANN_200, headers="X-Bid-Strategy: lua\r\n"))

        assert (reply.status, reply.code) == (400, "strategy_override_off")
        assert not gateway.ledger.placed
        assert (await one.ask(bid_request(ANN_200))).status == 201


async def test_a_draining_gateway_answers_with_connection_close(
    client: RawClient, gateway: RunningGateway
) -> None:
    gateway.ledger.gate.clear()
    await client.send(bid_request(ANN_200))
    await until(lambda: gateway.ledger.asked == 1, within_s=5)

    gateway.readiness.draining = True
    gateway.ledger.gate.set()

    reply = await client.reply()
    assert reply.status == 201
    assert reply.headers["connection"] == "close"
    assert await client.ended()


async def test_metrics_count_requests_by_outcome(
    client: RawClient, gateway: RunningGateway
) -> None:
    gateway.ledger.items["sold"] = ItemState(price_cents=50000, bidder="cy", seq=3, count=3)
    await client.ask(bid_request(ANN_200))
    await client.ask(bid_request(ANN_200, item="sold"))
    await client.ask(bid_request(b"no"))
    await client.ask(request("/api/v1/items/vase"))

    text = (await client.ask(request("/metrics"))).body.decode()

    for outcome in ("accepted", "too_low", "invalid_body", "read"):
        assert f'bid_requests_total{{outcome="{outcome}"}} 1.0' in text
    assert "bid_accepted_total 1.0" in text
    assert "bid_place_seconds_count 2.0" in text
