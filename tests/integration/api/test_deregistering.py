"""A stopping gateway keeps answering until the load balancer has noticed."""

import asyncio
import signal
import time

import aiohttp
import pytest

from pkg.trials.waiting import until
from tests.integration.processes import Services

DEREGISTER_S = 12.0  # enough for three looks on a busy machine


@pytest.mark.timeout(60)
async def test_connections_are_accepted_after_readiness_turned_red(services: Services) -> None:
    env = {"DEREGISTER_S": str(DEREGISTER_S), "DRAIN_S": "0"}
    api = await services.api(env=env)
    [gateway] = api.replicas
    body = b'{"user_id":"ann","amount":%d}'

    gateway.send(signal.SIGTERM)

    began = time.monotonic()

    async def unready() -> bool:
        return not await gateway.ready()

    await until(unready, within_s=2)
    for amount in range(1, 4):
        # One connection per bid, as a load balancer may make them.
        async with (
            aiohttp.ClientSession(api.url) as client,
            client.post("/api/v1/items/vase/bid", data=body % amount) as answer,
        ):
            assert answer.status == 201
            assert answer.headers["Connection"].lower() == "close"
    assert time.monotonic() - began < DEREGISTER_S
    assert await asyncio.wait_for(gateway.process.wait(), timeout=20) == 0
    assert time.monotonic() - began >= DEREGISTER_S - 0.1
