"""A holder that cannot relay gives the lease up, and takes it again when it can."""

import asyncio
import time

import aiohttp
import pytest
from redis.asyncio import Redis

from pkg.api.relay import lease as leases
from pkg.api.relay.lease import Lease
from pkg.auction.keys import RELAY_LEASE
from pkg.devkit.ports import free_ports
from pkg.runtime.background import ended
from pkg.trials.waiting import until
from tests.integration.api.parts import event_stream, relayed, settings_for
from tests.integration.processes import Services
from tests.integration.providers import Stores
from tests.integration.runtime.fake_nats import fake_nats


async def test_standing_aside_releases_the_lease_and_pauses_attempts(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.01)
    monkeypatch.setattr(leases, "ASIDE_S", 2.0)
    lease = Lease(redis)
    keeping = asyncio.create_task(lease.keep())
    await asyncio.wait_for(lease.wait_held(), timeout=5)
    began = time.monotonic()

    await lease.stand_aside()

    assert not lease.held
    assert await redis.get(RELAY_LEASE) is None
    await asyncio.wait_for(lease.wait_held(), timeout=5)
    assert time.monotonic() - began >= 2.0
    await ended(keeping)


async def test_standing_aside_does_not_release_the_lease_of_another(redis: Redis) -> None:
    first, second = Lease(redis), Lease(redis)
    keeping = asyncio.create_task(first.keep())
    await asyncio.wait_for(first.wait_held(), timeout=5)
    await first.stand_aside()
    other = asyncio.create_task(second.keep())
    await asyncio.wait_for(second.wait_held(), timeout=5)

    first.come_back()
    await first.stand_aside()

    assert second.held
    assert await redis.get(RELAY_LEASE) is not None
    await ended(keeping)
    await ended(other)


async def test_each_servers_partitions_have_a_lease_of_their_own(redis: Redis) -> None:
    leases_of_two = [Lease(redis), Lease(redis, key="{p02}:lease")]
    keeping = [asyncio.create_task(each.keep()) for each in leases_of_two]

    for each in leases_of_two:
        await asyncio.wait_for(each.wait_held(), timeout=5)

    assert all(each.held for each in leases_of_two)
    for task in keeping:
        await ended(task)


async def test_coming_back_tries_at_once(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 60.0)
    lease = Lease(redis)
    keeping = asyncio.create_task(lease.keep())
    await asyncio.wait_for(lease.wait_held(), timeout=5)
    await lease.stand_aside()

    lease.come_back()

    await asyncio.wait_for(lease.wait_held(), timeout=20)
    await ended(keeping)


async def test_a_holder_without_nats_lets_another_process_relay(
    stores: Stores, redis: Redis, services: Services
) -> None:
    [nowhere] = free_ports(1)
    await services.api(env={"NATS_URL": f"nats://127.0.0.1:{nowhere}", "RECOVERY_WAIT_S": "0.2"})
    # On a slow machine it may have stood aside already; then it tries again.
    holder = await until(lambda: redis.get(RELAY_LEASE), within_s=15)

    api = await services.api()

    async with (
        aiohttp.ClientSession(api.url) as client,
        client.post("/api/v1/items/vase/bid", data=b'{"user_id":"ann","amount":1}') as answer,
    ):
        assert answer.status == 201
    async with event_stream(settings_for(stores)) as (_, link):
        # The holder stands aside at its second failure, and each takes 5 s.
        await relayed(link, 1, within_s=30, log=lambda: api.log)
    assert await redis.get(RELAY_LEASE) != holder


async def test_a_lone_holder_that_stood_aside_relays_as_soon_as_nats_is_back(
    stores: Stores, redis: Redis, services: Services
) -> None:
    """With no other process after the lease, it does not wait out ASIDE_S."""
    async with fake_nats(stores.nats_url) as nats:
        nats.away = True
        api = await services.api(
            env={"NATS_URL": f"nats://127.0.0.1:{nats.port}", "RECOVERY_WAIT_S": "0.2"}
        )

        async def let_go() -> bool:
            return await redis.get(RELAY_LEASE) is None

        await until(let_go, within_s=15, log=lambda: api.log)

        nats.away = False

        await until(lambda: nats.served, within_s=5, log=lambda: api.log)

        async def taken() -> bool:
            return await redis.get(RELAY_LEASE) is not None

        await until(taken, within_s=2, log=lambda: api.log)
