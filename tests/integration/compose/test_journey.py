"""Bids through the edge of a stack: a single one, and 2,000 through three gateways."""

import asyncio
import os
import re
import signal
import subprocess
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from pkg.trials.waiting import until
from tests.integration.compose.conftest import BROADCASTERS, GATEWAYS
from tests.integration.compose.test_builders import build
from tests.integration.devkit.conftest import Bidkit, docker
from tests.integration.processes import Service
from tests.integration.system.clients import AcceptedBid, place_bids, viewers
from tests.integration.system.test_contention import (
    BIDS,
    CONNECTIONS,
    VIEWERS,
    contended_amounts,
)

GATEWAY_PORT = 8080
HEALTH_CHECK_BYTES = 60
"""Larger than the edge's health checks, smaller than a forwarded request."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def edge(stack: Bidkit) -> Service:
    return Service("edge", f"http://127.0.0.1:{stack.edge_port}")


def archived(stack: Bidkit, item: str) -> list[AcceptedBid]:
    (postgres,) = stack.inspect("postgres")
    query = f"SELECT seq, event_id, amount FROM bids WHERE item_id = '{item}' ORDER BY seq"  # noqa: S608 - the tests' own
    output = docker("exec", postgres["Id"], "psql", "-U", "bidding", "-Atc", query)
    rows = [line.split("|") for line in output.splitlines()]
    return [AcceptedBid(int(seq), event_id, Decimal(amount)) for seq, event_id, amount in rows]


def unread_requests(pid: int) -> int:
    """The number of requests that wait unread in a gateway's sockets."""
    found = 0
    for table in ("tcp", "tcp6"):
        _, *sockets = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()
        for line in sockets:
            _, local, _, _, queues, *_ = line.split()
            port, waiting = (int(each.rpartition(":")[2], 16) for each in (local, queues))
            found += port == GATEWAY_PORT and waiting > HEALTH_CHECK_BYTES
    return found


async def test_bid_through_the_edge_reaches_a_viewer_and_the_archive(
    stack: Bidkit, edge: Service
) -> None:
    async with viewers(edge, "lamp", 1) as [viewer], aiohttp.ClientSession(edge.url) as client:
        body = b'{"user_id":"ann","amount":125.50}'
        async with client.post("/api/v1/items/lamp/bid", data=body) as answer:
            placed = await answer.json()
            assert answer.status == 201

        await until(lambda: viewer.bids, within_s=5)
        assert viewer.bids == [AcceptedBid(1, placed["event_id"], Decimal("125.50"))]
    await until(lambda: len(archived(stack, "lamp")) == 1, within_s=10)
    assert stack("audit", within_s=90).code == 0


async def test_edge_routes_like_the_load_balancer(stack: Bidkit, edge: Service) -> None:
    async def ask(port: int, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{port}{path}"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            return answer.status, await answer.text()

    for port in (stack.edge_port, stack.api_port, stack.broadcast_port):
        for path in ("/metrics", "/ready", "/METRICS", "/%72eady", "/ready?x=1"):
            assert (await ask(port, path))[0] == 404
    for path, expected in (
        ("/health", "api-gateway"),
        ("/api/v1/items/none", '"current_bid":0.00'),
        ("/stats/items/none", '"subscribers":0'),
    ):
        status, body = await ask(stack.edge_port, path)
        assert (status, expected in body) == (200, True), body
    assert "broadcast-service" in (await ask(stack.broadcast_port, "/health"))[1]
    async with aiohttp.ClientSession(edge.url) as client, client.get("/stats/items/x") as answer:
        assert answer.cookies["edge"].value
    async with aiohttp.ClientSession(edge.url) as client, client.get("/health") as answer:
        assert "edge" not in answer.cookies


@pytest.mark.parametrize("strategies", [["lua", "optimistic"]], ids=["mixed"])
async def test_2000_bids_through_three_gateways_are_each_decided_broadcast_and_archived_once(
    stack: Bidkit, edge: Service, strategies: list[str]
) -> None:
    assert len(stack.inspect("api-gateway")) == GATEWAYS
    assert len(stack.inspect("broadcast-service")) == BROADCASTERS

    async with viewers(edge, "vase", VIEWERS) as audience:
        ledger = await place_bids(
            edge,
            "vase",
            contended_amounts(seed=1),
            connections=CONNECTIONS,
            strategies=strategies,
        )
        accepted = sorted(ledger.accepted)
        last = accepted[-1].seq
        await until(lambda: all(one.seq >= last for one in audience), within_s=30)

    assert len(ledger.accepted) + ledger.too_low + ledger.busy == BIDS
    assert [bid.seq for bid in accepted] == list(range(1, len(accepted) + 1))
    assert all(lower.amount < higher.amount for lower, higher in pairwise(accepted))
    assert all(one.bids == accepted for one in audience)
    await until(lambda: len(archived(stack, "vase")) >= len(accepted), within_s=30)
    assert archived(stack, "vase") == accepted
    audited = await asyncio.to_thread(stack, "audit", within_s=90)
    assert audited.code == 0, audited.out


async def test_responses_of_the_edge_itself_are_json(stack: Bidkit) -> None:
    async def raw(request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.edge_port)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), timeout=20)
        writer.close()
        return answer

    bid = (
        b"POST /api/v1/items/edge/bid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b'Content-Length: 27\r\n\r\n{"user_id":"ann","amount":1}'
    )
    read = b"GET /api/v1/items/edge HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert (await asyncio.to_thread(stack, "scale", "api=1", within_s=120)).code == 0
    (pid,) = stack.pids("api-gateway")
    os.kill(pid, signal.SIGSTOP)
    asking = asyncio.gather(raw(bid), raw(read))
    # The edge has forwarded both to the stopped gateway.
    await until(lambda: unread_requests(pid) == 2, within_s=5)
    os.kill(pid, signal.SIGKILL)
    lost_bid, lost_read = await asking
    assert lost_bid.startswith(b"HTTP/1.1 502 ")
    assert b'"code":"outcome_unknown"' in lost_bid
    assert lost_read.startswith(b"HTTP/1.1 502 ")
    assert b'"code":"no_answer"' in lost_read

    assert (await asyncio.to_thread(stack, "scale", "api=0", within_s=120)).code == 0
    refused = await raw(bid)
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"no_gateway"' in refused
    assert b"retry-after: 1" in refused.lower()
    restored = await asyncio.to_thread(stack, "scale", f"api={GATEWAYS}", within_s=120)
    assert restored.code == 0, restored.err


def test_load_generator_bids_through_the_edge(stack: Bidkit) -> None:
    tag = f"bidding-system/tests:{uuid4().hex[:8]}"
    (edge,) = stack.inspect("edge")
    (network,) = edge["NetworkSettings"]["Networks"]
    build(tag, buildkit=False, target="load-generator")
    try:
        command = (
            *("docker", "run", "--rm", "--network", network, "--read-only", "--tmpfs", "/tmp"),  # noqa: S108
            *("--env", "BID_STRATEGY=optimistic", tag, "python", "-m", "locust"),
            *("-f", "locustfile.py", "--headless", "-u", "5", "-r", "5", "-t", "3s"),
            *("ContendedItemBidder", "--host", "http://edge:8000"),
        )
        output = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=True,
        ).stdout
    finally:
        docker("rmi", tag)

    told = re.search(
        r"(\d+) bids: (\d+) accepted, \d+ refused by a rule, 0 failed, 0 unknown", output
    )
    assert told, output
    assert int(told[2]) > 0
    assert stack("audit", within_s=90).code == 0
