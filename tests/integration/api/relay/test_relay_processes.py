"""The lease between processes, and the relay in the gateway's processes."""

import asyncio
import signal

import aiohttp
import pytest
from redis.asyncio import Redis

from pkg.api.relay.lease import Lease
from pkg.auction.events import encode_watermark
from pkg.auction.keys import RELAY_LEASE, meta_key
from pkg.auction.outbox import OutboxId
from pkg.auction.subjects import archived_subject
from pkg.runtime.background import ended
from pkg.trials.waiting import until
from tests.integration.api.parts import (
    event_stream,
    outbox_entries,
    outbox_events,
    relayed,
    settings_for,
    stream_events,
)
from tests.integration.api.relay.recovering import P, ask
from tests.integration.processes import Services
from tests.integration.providers import Servers, Stores


async def test_the_lease_has_one_holder_at_a_time_and_is_released_at_the_end(
    stores: Stores,
) -> None:
    async with Redis.from_url(stores.redis_url) as redis:
        first, second = Lease(redis), Lease(redis)
        keeping = asyncio.create_task(first.keep())
        await asyncio.wait_for(first.wait_held(), timeout=5)
        waiting = asyncio.create_task(second.keep())
        await until(lambda: redis.get(RELAY_LEASE), within_s=5)
        assert not second.held

        await ended(keeping)

        # Released, not left to expire.
        assert await redis.get(RELAY_LEASE) != first.holder.encode()
        await asyncio.wait_for(second.wait_held(), timeout=20)
        assert not first.held
        await ended(waiting)
        assert await redis.get(RELAY_LEASE) is None


async def test_a_lease_taken_by_another_process_is_no_longer_held(stores: Stores) -> None:
    async with Redis.from_url(stores.redis_url) as redis:
        lease = Lease(redis)
        keeping = asyncio.create_task(lease.keep())
        await asyncio.wait_for(lease.wait_held(), timeout=5)

        await redis.set(RELAY_LEASE, "another", px=10_000)

        await until(lambda: not lease.held, within_s=3)
        await ended(keeping)
        assert await redis.get(RELAY_LEASE) == b"another"


async def test_bids_accepted_while_nats_is_away_are_relayed_afterwards(
    servers: Servers, stores: Stores, services: Services
) -> None:
    await asyncio.to_thread(servers.stop, "nats")
    api = await services.api(env={"RECOVERY_WAIT_S": "0.2"})
    async with aiohttp.ClientSession(api.url) as client:
        statuses = [(await ask(client, cents))[0] for cents in range(1, 31)]
        async with client.get(f"{api.replicas[0].admin_url}/ready") as answer:
            ready = await answer.json()

    assert statuses == [201] * 30
    assert ready["ready"] is True
    assert ready["checks"]["nats"] == "down"
    servers.start("nats")  # not in a thread: the server would end with it
    async with (
        event_stream(settings_for(stores)) as (_, nats),
        Redis.from_url(stores.redis_url) as redis,
    ):
        wanted = await outbox_events(redis)

        async def told() -> bool:
            return await stream_events(nats) == wanted

        await until(told, within_s=15, forgiving=(Exception,), log=lambda: api.log)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_another_process_takes_over_relaying(
    stores: Stores, services: Services, how: signal.Signals
) -> None:
    api = await services.api(replicas=2, env={"DRAIN_S": "0"})
    async with aiohttp.ClientSession(api.url) as client:
        assert (await ask(client, 100))[0] == 201
    async with Redis.from_url(stores.redis_url) as redis:
        holder = await redis.get(RELAY_LEASE)
        assert isinstance(holder, bytes)
        name = holder.decode()
        leader = await until(
            lambda: next((one for one in api.replicas if name in one.log), None), within_s=5
        )
        assert leader is not None

        await leader.end(how)

        # Killed, it cannot release the lease, which expires after three seconds.
        if how is signal.SIGTERM:
            assert await redis.get(RELAY_LEASE) != holder

        async def another() -> bool:
            now = await redis.get(RELAY_LEASE)
            return now is not None and now != holder

        await until(another, within_s=10)
    async with (
        aiohttp.ClientSession(api.url) as client,
        event_stream(settings_for(stores)) as (_, nats),
    ):
        assert (await ask(client, 200))[0] == 201
        await relayed(nats, 2, log=lambda: api.log)


async def test_the_outbox_is_trimmed_to_the_announced_watermark(
    stores: Stores, services: Services
) -> None:
    api = await services.api()
    async with (
        aiohttp.ClientSession(api.url) as client,
        stores.nats_administrator() as nats,
        Redis.from_url(stores.redis_url) as redis,
    ):
        for cents in range(1, 11):
            assert (await ask(client, cents))[0] == 201
        entries = [entry for entry, _ in await outbox_entries(redis, P)]
        through = OutboxId.parse(entries[6])

        await nats.publish(archived_subject(P), b"no watermark")

        async def trimmed() -> bool:
            # Repeated, as the worker does: the relay may not have subscribed yet.
            told = encode_watermark(P, through)
            await nats.publish(archived_subject(P), told)
            return [each for each, _ in await outbox_entries(redis, P)] == entries[7:]

        await until(trimmed, within_s=5, log=lambda: api.log)
        assert await redis.hget(meta_key(P), "archived_to") == entries[6]
        assert (await ask(client, 500))[0] == 201


async def test_a_standalone_relay_relays_for_gateways_that_do_not(
    stores: Stores, services: Services
) -> None:
    await services.relay()
    api = await services.api(env={"RELAY_ENABLED": "false"})
    async with (
        aiohttp.ClientSession(api.url) as client,
        event_stream(settings_for(stores)) as (_, nats),
    ):
        assert (await ask(client, 100))[0] == 201
        await relayed(nats, 1, log=lambda: api.log)
