"""The edge alone, with fake replicas and a fake name server."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from pkg.devkit.names import MOST_REPLICAS
from pkg.trials.waiting import until
from tests.integration.compose.lone_edge import LoneEdge, lone_edge, up

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform != "linux", reason="a container in the host's network"),
]

BODY = b'{"user_id":"ann","amount":1}'
BID = b"POST /api/v1/items/vase/bid HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
READ = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[LoneEdge]:
    async with lone_edge(tmp_path, broadcasters=2) as edge:
        yield edge


async def test_the_edge_finds_as_many_replicas_as_a_rolling_restart_can_have(
    tmp_path: Path,
) -> None:
    """Their addresses do not fit into a plain DNS answer of 512 bytes."""
    most = MOST_REPLICAS + 1
    async with lone_edge(tmp_path, gateways=most, broadcasters=most) as edge:
        replicas = {(await edge.ask(edge.api, "/health"))[1]["replica"] for _ in range(2 * most)}

    assert len(replicas) == most


async def test_the_edge_keeps_its_replicas_while_the_name_server_is_silent(edge: LoneEdge) -> None:
    edge.names.silent = True

    # Two names, each resolved twice a second, with retries: about ten seconds.
    await until(lambda: edge.names.unanswered >= 40, within_s=30)

    assert (await edge.ask(edge.api, "/health"))[0] == 200
    assert await up(edge, 3)


async def test_replicas_get_the_clients_address_and_protocol(edge: LoneEdge) -> None:
    forged = {"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "1"}

    for port in (edge.every, edge.api, edge.broadcast):
        for sent, told in (({}, "127.0.0.1"), (forged, "10.1.2.3, 127.0.0.1")):
            _, seen = await edge.ask(port, "/health", **sent)

            assert seen["x-forwarded-for"] == told
            assert seen["x-forwarded-proto"] == "http"
            assert "x-forwarded-port" not in seen


async def test_paths_below_metrics_and_ready_are_hidden_too(edge: LoneEdge) -> None:
    for port in (edge.every, edge.api, edge.broadcast):
        for path in ("/metrics", "/metrics/x", "/ready/", "/READY/x", "/%6detrics/x"):
            assert await edge.ask(port, path) == (404, {"error": "Not found", "code": "not_found"})
        assert (await edge.ask(port, "/metricsx"))[0] == 200


async def test_a_client_with_its_cookie_stays_at_its_broadcaster(edge: LoneEdge) -> None:
    async def replica(client: aiohttp.ClientSession) -> str:
        async with client.get(f"http://127.0.0.1:{edge.every}/stats/items/x") as answer:
            return str((await answer.json())["replica"])

    homes = set()
    for _ in range(4):
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as client:
            seen = {await replica(client) for _ in range(6)}
        assert len(seen) == 1
        homes |= seen
    assert len(homes) == 2


async def test_viewers_cannot_take_the_last_connection_from_bidders(tmp_path: Path) -> None:
    async with (
        lone_edge(tmp_path, most_viewers=3) as edge,
        aiohttp.ClientSession() as client,
    ):
        watched = f"http://127.0.0.1:{edge.broadcast}/ws/items/x"
        viewers = [await client.ws_connect(watched) for _ in range(3)]

        for port in (edge.every, edge.broadcast):
            status, said = await edge.ask(port, "/ws/items/x")
            assert (status, said["code"]) == (503, "too_many_viewers")
        for port in (edge.every, edge.api, edge.broadcast):
            assert (await edge.ask(port, "/health"))[0] == 200
            assert (await edge.ask(port, "/stats/items/x"))[0] == 200
        assert not any(viewer.closed for viewer in viewers)


async def test_a_bid_whose_gateway_dies_is_unknown_and_not_sent_again(edge: LoneEdge) -> None:
    edge.dying = True
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.api)

    writer.write(BID)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), timeout=10)

    assert head.startswith(b"HTTP/1.1 502 ")
    assert b'"code":"outcome_unknown"' in await reader.read(1000)
    assert edge.bids == [BODY]
    writer.close()


async def test_on_a_reused_connection_the_edge_closes_instead_of_answering_502(
    edge: LoneEdge,
) -> None:
    """As HAProxy does; what matters is that the bid is not sent again (docs/operations.md)."""
    edge.dying = True
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.api)
    writer.write(READ)
    await asyncio.wait_for(reader.readuntil(b"}"), timeout=10)

    writer.write(BID)
    answer = await asyncio.wait_for(reader.read(), timeout=10)

    assert answer == b""
    assert edge.bids == [BODY]
    writer.close()
