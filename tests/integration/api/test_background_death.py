"""A gateway whose background work ends stops; only the relay is restarted if it fails."""

import asyncio

import aiohttp
import pytest

from pkg.api import app
from pkg.api.relay.relay import Relay
from pkg.devkit.ports import free_ports
from pkg.runtime.background import ended
from pkg.trials.waiting import until
from tests.integration.api.parts import settings_for
from tests.integration.new_redis import declare_new
from tests.integration.providers import Stores


@pytest.mark.parametrize("part", ["bids-link", "rounds-link", "relay", "relay-lease"])
async def test_a_part_that_dies_turns_readiness_red_and_ends_the_process_with_1(
    stores: Stores, part: str
) -> None:
    public, admin = free_ports(2)
    settings = settings_for(
        stores,
        SERVER_ADDR=f"127.0.0.1:{public}",
        ADMIN_ADDR=f"127.0.0.1:{admin}",
        DRAIN_S="20",
        SHUTDOWN_TIMEOUT_S="60",
        ARCHIVE_HEARING_S="0",
    )
    await declare_new(stores.redis_url, partitions=settings.partitions)
    serving = asyncio.create_task(app.serve(settings, asyncio.Event()))
    try:
        await _watched(part, public, admin)

        assert await asyncio.wait_for(serving, timeout=30) == 1
    finally:
        await ended(serving)


async def _watched(part: str, public: int, admin: int) -> None:
    # An open connection prolongs the drain, so that readiness can be read.
    async with aiohttp.ClientSession() as client:

        async def ready(port: int) -> bool:
            async with client.get(f"http://127.0.0.1:{port}/ready") as answer:
                return answer.status == 200

        await until(lambda: ready(public), within_s=15, forgiving=(aiohttp.ClientError,))
        victim = next(task for task in asyncio.all_tasks() if task.get_name() == part)

        await ended(victim)

        async def told() -> bool:
            async with client.get(f"http://127.0.0.1:{admin}/ready") as answer:
                checks = (await answer.json())["checks"]
                return answer.status == 503 and checks["background"] == "failed"

        await until(told, within_s=10)


async def test_a_relay_that_fails_is_restarted_and_its_gateway_goes_on(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, admin = free_ports(2)
    settings = settings_for(
        stores,
        SERVER_ADDR=f"127.0.0.1:{public}",
        ADMIN_ADDR=f"127.0.0.1:{admin}",
        DRAIN_S="0",
        ARCHIVE_HEARING_S="0",
    )
    await declare_new(stores.redis_url, partitions=settings.partitions)
    run, failures = Relay.run, 0

    async def fails_twice(relay: Relay) -> None:
        nonlocal failures
        if failures < 2:
            failures += 1
            raise ZeroDivisionError("a defect")
        await run(relay)

    monkeypatch.setattr(Relay, "run", fails_twice)
    stop = asyncio.Event()
    serving = asyncio.create_task(app.serve(settings, stop))
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{public}") as client:

            async def relayed() -> bool:
                async with client.get("/metrics") as answer:
                    lines = (await answer.text()).splitlines()
                return {"bid_relay_restarts_total 2.0", "bid_relay_events_total 1.0"} <= set(lines)

            # The relay opens Redis, so the first bid waits for it.
            await until(lambda: _bid(client), within_s=30, forgiving=(aiohttp.ClientError,))
            await until(relayed, within_s=15)
        assert not serving.done()
        stop.set()
        assert await asyncio.wait_for(serving, timeout=30) == 0
    finally:
        await ended(serving)


async def _bid(client: aiohttp.ClientSession) -> bool:
    body = {"user_id": "ann", "amount": 200}
    async with client.post("/api/v1/items/vase/bid", json=body) as answer:
        return answer.status == 201
