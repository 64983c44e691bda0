"""What clients do on the wire: pipelines, broken requests, disconnections."""

import asyncio
import random

import pytest

from pkg.trials.waiting import until
from tests.unit.api.gateways import RunningGateway, running_gateway
from tests.unit.api.http_client import (
    RawClient,
    bid_request,
    chunk,
    raw_client,
    request,
)

ANN_200 = b'{"user_id":"ann","amount":200}'


async def test_pipelined_requests_are_answered_in_their_order(
    client: RawClient, gateway: RunningGateway
) -> None:
    bids = [
        bid_request(b'{"user_id":"u%d","amount":%d}' % (n, n), item="vase") for n in range(1, 41)
    ]
    requests = [part for bid in bids for part in (bid, request("/api/v1/items/vase"))]

    await client.send(b"".join(requests))

    for number in range(1, 41):
        assert (await client.reply()).json["seq"] == number
        assert (await client.reply()).json["highest_bidder_id"] == f"u{number}"
    assert len(gateway.ledger.placed) == 40


async def test_a_refused_request_does_not_spoil_the_next_of_its_connection(
    client: RawClient,
) -> None:
    await client.send(
        bid_request(b"no")
        + bid_request(ANN_200, item="%20")
        + request("/no", method="GET")
        + bid_request(ANN_200)
    )

    statuses = [(await client.reply()).status for _ in range(4)]

    assert statuses == [400, 400, 404, 201]


async def test_an_unread_body_is_not_taken_for_the_next_request(client: RawClient) -> None:
    """The body of a refused bid looks like a request itself."""
    smuggled = request("/api/v1/items/evil")
    await client.send(bid_request(smuggled, item="%20") + request("/health"))

    assert (await client.reply()).code == "item_id_invalid"
    assert (await client.reply()).json["status"] == "healthy"


async def test_content_length_together_with_chunks_is_refused(
    client: RawClient, gateway: RunningGateway
) -> None:
    await client.send(
        b"POST /api/v1/items/vase/bid HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + chunk(ANN_200) + chunk(b"")
    )

    reply = await client.reply()

    assert (reply.status, reply.code) == (400, "invalid_http")
    assert await client.ended()
    assert not gateway.ledger.placed


async def test_connection_close_is_honoured(client: RawClient) -> None:
    reply = await client.ask(bid_request(ANN_200, headers="Connection: close\r\n"))

    assert (reply.status, reply.headers["connection"]) == (201, "close")
    assert await client.ended()


async def test_http_1_0_is_answered_and_closed(client: RawClient) -> None:
    reply = await client.ask(bid_request(ANN_200, version="HTTP/1.0"))

    assert reply.status == 201
    assert await client.ended()


async def test_http_1_0_is_kept_alive_on_request(client: RawClient) -> None:
    keep = "Connection: keep-alive\r\n"
    first = await client.ask(bid_request(ANN_200, version="HTTP/1.0", headers=keep))
    second = await client.ask(request("/health", version="HTTP/1.0", headers=keep))

    assert (first.status, first.headers["connection"]) == (201, "keep-alive")
    assert second.status == 200


async def test_a_client_that_waits_for_100_continue_gets_it(client: RawClient) -> None:
    head, _, body = bid_request(ANN_200, headers="Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    await client.send(head + b"\r\n\r\n")

    assert (await client.reply()).status == 100

    assert (await client.ask(body)).status == 201


async def test_a_client_that_waits_for_100_continue_learns_of_a_bad_item_at_once(
    client: RawClient,
) -> None:
    head, _, _ = bid_request(ANN_200, item="%20", headers="Expect: 100-continue\r\n").partition(
        b"\r\n\r\n"
    )

    reply = await client.ask(head + b"\r\n\r\n")

    assert (reply.status, reply.code) == (400, "item_id_invalid")


async def test_a_request_in_small_pieces_is_read(client: RawClient) -> None:
    for byte in bid_request(ANN_200):
        await client.send(bytes([byte]))

    assert (await client.reply()).status == 201


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"BREW /health HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /health HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"X: a\r\n" * 20_000 + b"\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
    ],
)
async def test_garbage_is_400_in_json_and_closes_the_connection(
    client: RawClient, gateway: RunningGateway, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await client.send(data)

    reply = await client.reply()

    assert (reply.status, reply.code) == (400, "invalid_http")
    assert reply.headers["connection"] == "close"
    assert await client.ended()
    assert gateway.metrics.errors == {"invalid_http": 1}
    assert not caplog.records  # garbage does not fill the log


@pytest.mark.parametrize("seed", range(30))
async def test_random_bytes_are_never_a_500(gateway: RunningGateway, seed: int) -> None:
    chance = random.Random(seed)
    good = bid_request(ANN_200) + request("/api/v1/items/vase")
    data = bytearray(good)
    for _ in range(chance.randint(1, 6)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if seed % 3 == 0:
        data = bytearray(chance.randbytes(chance.randint(1, 400)) + b"\r\n\r\n")

    async with raw_client(gateway.port) as client:
        await client.send(bytes(data))
        client.writer.write_eof()
        answer = await asyncio.wait_for(client.reader.read(), timeout=15)

    statuses = [line.split()[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert all(status[:1] in b"124" for status in statuses), answer
    async with raw_client(gateway.port) as other:
        assert (await other.ask(request("/health"))).status == 200


async def test_a_client_that_leaves_in_mid_body_places_no_bid_and_logs_nothing(
    client: RawClient, gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    await client.send(bid_request(ANN_200)[:-5])
    client.writer.transport.abort()

    async with raw_client(gateway.port) as other:
        reply = await other.ask(request("/api/v1/items/vase"))

    assert reply.json["seq"] == 0
    assert not gateway.ledger.placed
    assert gateway.metrics.errors == {}
    assert not caplog.records


async def test_a_client_that_leaves_before_its_answer_has_placed_its_bid(
    client: RawClient, gateway: RunningGateway
) -> None:
    gateway.ledger.gate.clear()
    await client.send(bid_request(ANN_200))
    await until(lambda: gateway.ledger.asked == 1, within_s=5)
    client.writer.transport.abort()
    async with raw_client(gateway.port) as other:
        gateway.ledger.gate.set()

        await until(lambda: "vase" in gateway.ledger.items, within_s=5)

        assert (await other.ask(request("/api/v1/items/vase"))).json["seq"] == 1


async def test_a_client_that_never_reads_delays_nobody_and_is_bounded(
    client: RawClient, gateway: RunningGateway
) -> None:
    sent = 0
    asks = request("/metrics") * 50
    async with raw_client(gateway.port) as other:
        while sent < 4000:
            client.writer.write(asks)
            sent += len(asks) // len(request("/metrics"))
            if client.writer.transport.get_write_buffer_size() > 0:
                break  # the server has stopped reading this one
            assert (await other.ask(request("/health"))).status == 200

        assert (await other.ask(bid_request(ANN_200))).status == 201

    assert client.writer.transport.get_write_buffer_size() > 0 or sent >= 4000
    client.writer.transport.abort()


async def test_a_body_that_trickles_in_is_408_and_closes_the_connection(
    client: RawClient, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkg.api.bidding.body.BODY_TIMEOUT_S", 0.2)
    await client.send(bid_request(ANN_200)[:-1])

    reply = await client.reply()

    assert (reply.status, reply.code) == (408, "body_too_slow")
    assert reply.headers["connection"] == "close"
    await client.send(b"}")  # too late; saves the server from waiting for the rest
    assert await client.ended()
    assert not gateway.ledger.placed


async def test_connections_beyond_the_maximum_are_cut_and_counted() -> None:
    async with (
        running_gateway(connections_max=2) as gateway,
        raw_client(gateway.port) as first,
        raw_client(gateway.port) as second,
    ):
        assert (await first.ask(request("/health"))).status == 200
        assert (await second.ask(request("/health"))).status == 200

        async with raw_client(gateway.port) as third:
            assert await third.ended()

        assert gateway.metrics.connections() == (2, 1)
        assert (await first.ask(bid_request(ANN_200))).status == 201
        await second.close()
        await until(lambda: gateway.metrics.connections()[0] == 1, within_s=5)
        async with raw_client(gateway.port) as fourth:
            assert (await fourth.ask(request("/health"))).status == 200


@pytest.mark.parametrize("authority", ["http://x", "HTTP://a:80", "https://shop.example"])
async def test_a_target_that_is_a_whole_url_means_its_path(
    client: RawClient, authority: str
) -> None:
    bid = bid_request(ANN_200).replace(b"POST /", b"POST " + authority.encode() + b"/", 1)

    health = await client.ask(request(f"{authority}/health"))
    accepted = await client.ask(bid)
    item = await client.ask(request(f"{authority}/api/v1/items/vase?x=http://y/z"))
    ready = await client.ask(request(f"{authority}/ready?a"))
    metrics = await client.ask(request(f"{authority}/metrics"))
    nothing = await client.ask(request(authority))

    assert health.json["status"] == "healthy"
    assert accepted.status == 201
    assert item.json["seq"] == 1
    assert (ready.status, metrics.status, nothing.status) == (200, 200, 404)


async def test_no_answer_tells_a_version(client: RawClient) -> None:
    for ask in (request("/health"), request("/no"), b"garbage\r\n\r\n"):
        assert "server" not in (await client.ask(ask)).headers


async def test_a_connection_that_never_asks_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pkg.runtime.http_server.FIRST_REQUEST_S", 0.3)
    async with (
        running_gateway() as gateway,
        raw_client(gateway.port) as silent,
        raw_client(gateway.port) as slow,
        raw_client(gateway.port) as asking,
    ):
        await slow.send(b"GET /health HTTP/1.1\r\nHos")
        assert (await asking.ask(request("/health"))).status == 200

        assert await silent.ended()
        assert await slow.ended()
        assert (await asking.ask(request("/health"))).status == 200
