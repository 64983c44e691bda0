"""The edge alone, with fake replicas and a fake name server."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from pkg.devkit.names import MOST_REPLICAS
from pkg.trials.waiting import until
from tests.integration.compose.standalone_edge import StandaloneEdge, has_found, standalone_edge

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform != "linux", reason="needs a container on the host's network"),
]

BODY = b'{"user_id":"ann","amount":1}'
BID = b"POST /api/v1/items/vase/bid HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
READ = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[StandaloneEdge]:
    async with standalone_edge(tmp_path, broadcasters=2) as edge:
        yield edge


async def test_edge_finds_as_many_replicas_as_a_rolling_restart_can_have(
    tmp_path: Path,
) -> None:
    """Their addresses do not fit into a plain DNS answer of 512 bytes."""
    most = MOST_REPLICAS + 1
    async with standalone_edge(tmp_path, gateways=most, broadcasters=most) as edge:
        replicas = {
            (await edge.ask(edge.api_port, "/health"))[1]["replica"] for _ in range(2 * most)
        }

    assert len(replicas) == most


async def test_edge_keeps_its_replicas_while_the_name_server_is_silent(
    edge: StandaloneEdge,
) -> None:
    edge.name_server.silent = True

    # Two names, each resolved twice a second, with retries: about ten seconds.
    await until(lambda: edge.name_server.unanswered >= 40, within_s=30)

    assert (await edge.ask(edge.api_port, "/health"))[0] == 200
    assert await has_found(edge, 3)


async def test_replicas_get_the_client_s_address_and_protocol(edge: StandaloneEdge) -> None:
    forged = {"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "1"}

    for port in (edge.main_port, edge.api_port, edge.broadcast_port):
        for sent, received in (({}, "127.0.0.1"), (forged, "10.1.2.3, 127.0.0.1")):
            _, seen = await edge.ask(port, "/health", **sent)

            assert seen["x-forwarded-for"] == received
            assert seen["x-forwarded-proto"] == "http"
            assert "x-forwarded-port" not in seen


async def test_paths_below_metrics_and_ready_are_hidden_too(edge: StandaloneEdge) -> None:
    for port in (edge.main_port, edge.api_port, edge.broadcast_port):
        for path in ("/metrics", "/metrics/x", "/ready/", "/READY/x", "/%6detrics/x"):
            assert await edge.ask(port, path) == (404, {"error": "Not found", "code": "not_found"})
        assert (await edge.ask(port, "/metricsx"))[0] == 200


async def test_client_with_a_cookie_stays_on_one_broadcaster(edge: StandaloneEdge) -> None:
    async def replica(client: aiohttp.ClientSession) -> str:
        async with client.get(f"http://127.0.0.1:{edge.main_port}/stats/items/x") as answer:
            return str((await answer.json())["replica"])

    broadcasters = set()
    for _ in range(4):
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as client:
            seen = {await replica(client) for _ in range(6)}
        assert len(seen) == 1
        broadcasters |= seen
    assert len(broadcasters) == 2


async def test_viewers_cannot_use_up_the_connections_of_bidders(tmp_path: Path) -> None:
    async with (
        standalone_edge(tmp_path, most_viewers=3) as edge,
        aiohttp.ClientSession() as client,
    ):
        url = f"http://127.0.0.1:{edge.broadcast_port}/ws/items/x"
        viewers = [await client.ws_connect(url) for _ in range(3)]

        for port in (edge.main_port, edge.broadcast_port):
            status, body = await edge.ask(port, "/ws/items/x")
            assert (status, body["code"]) == (503, "too_many_viewers")
        for port in (edge.main_port, edge.api_port, edge.broadcast_port):
            assert (await edge.ask(port, "/health"))[0] == 200
            assert (await edge.ask(port, "/stats/items/x"))[0] == 200
        assert not any(viewer.closed for viewer in viewers)


async def test_bid_whose_gateway_dies_gets_outcome_unknown_and_is_not_resent(
    edge: StandaloneEdge,
) -> None:
    edge.gateways_die = True
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.api_port)

    writer.write(BID)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), timeout=10)

    assert head.startswith(b"HTTP/1.1 502 ")
    assert b'"code":"outcome_unknown"' in await reader.read(1000)
    assert edge.bids == [BODY]
    writer.close()


async def test_edge_closes_a_reused_connection_instead_of_answering_502(
    edge: StandaloneEdge,
) -> None:
    """This is how HAProxy behaves; the bid must not be resent (docs/operations.md)."""
    edge.gateways_die = True
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.api_port)
    writer.write(READ)
    await asyncio.wait_for(reader.readuntil(b"}"), timeout=10)

    writer.write(BID)
    answer = await asyncio.wait_for(reader.read(), timeout=10)

    assert answer == b""
    assert edge.bids == [BODY]
    writer.close()
