"""Gateways whose Redis crashed, was emptied, demoted or is full."""

import asyncio
import signal
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from pkg.auction.bid import Accepted
from pkg.auction.item import partition_names
from pkg.auction.keys import RELAY_LEASE, item_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM
from pkg.stores.opening import open_partitions
from pkg.stores.redis_meta import server_run_id
from pkg.trials.waiting import until
from tests.integration.api.parts import (
    PARTITIONS,
    bid,
    ledgers,
    outbox_entries,
    relayed,
    settings_for,
)
from tests.integration.api.relay.fail_over import two_redis
from tests.integration.api.relay.recovering import P, Rig, ask, metric
from tests.integration.processes import Service, Services
from tests.integration.providers import Servers, Stores


async def test_a_redis_that_crashed_accepts_bids_again_under_a_new_run_id(
    servers: Servers, rig: Rig, services: Services
) -> None:
    api = await services.api()
    async with aiohttp.ClientSession(api.url) as client:
        for cents in range(1, 21):
            assert (await ask(client, cents))[0] == 201
        was = await server_run_id(rig.redis)
        # Redis answers before a bid is on disk: one not yet relayed would be lost.
        await relayed(rig.nats, 20, log=lambda: api.log)

        servers.kill("redis")
        servers.start("redis")

        async def accepted() -> object:
            status, body = await ask(client, 5_000)
            return status == 201 and body["seq"]

        assert await until(accepted, within_s=15, log=lambda: api.log) == 21
    await rig.redis.connection_pool.disconnect()  # its connection is the dead server's
    assert await server_run_id(rig.redis) != was
    assert await rig.is_open()
    assert await metric(api, "bid_recoveries_total") == 1


async def test_an_emptied_redis_beside_a_filled_stream_answers_503_until_restore(
    rig: Rig, services: Services
) -> None:
    api = await services.api()
    async with aiohttp.ClientSession(api.url) as client:
        assert (await ask(client, 100))[0] == 201
        await relayed(rig.nats, 1, log=lambda: api.log)

        await rig.redis.flushall()

        async def wants_restore() -> bool:
            return await metric(api, "bid_restore_needed") == 1

        await until(wants_restore, within_s=10, log=lambda: api.log)
        for cents in (200, None):

            async def recovering(cents: int | None = cents) -> bool:
                status, body = await ask(client, cents)
                return (status, body.get("code")) == (503, "redis_recovering")

            await until(recovering, within_s=5, log=lambda: api.log)
    assert not await rig.is_open()
    assert await rig.redis.exists(item_key(P, "vase"), outbox_key(P)) == 0


FITTING = {"OUTBOX_MAX_ENTRIES": "20000", "ITEMS_MAX": "9000"}


@pytest.mark.parametrize(
    ("setting", "most"), [("OUTBOX_MAX_ENTRIES", "50000"), ("ITEMS_MAX", "11000")]
)
async def test_what_may_not_fit_into_redis_is_refused_before_the_first_bid(
    stores: Stores, rig: Rig, services: Services, setting: str, most: str
) -> None:
    await rig.redis.config_set("maxmemory", "100mb")
    try:
        await open_partitions(
            rig.redis,
            partition_names(PARTITIONS),
            await server_run_id(rig.redis),
            partitions=PARTITIONS,
        )
        env = FITTING | {setting: most, "START_GRACE_S": "0.2"}
        api = await services.api(env=env, wait=False)
        replica = api.replicas[0]

        await until(lambda: "maxmemory" in replica.log, within_s=10, log=lambda: replica.log)

        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{replica.admin_url}/ready") as answer,
        ):
            assert answer.status == 503
            assert (await answer.json())["checks"]["redis"] == "refused"
        said = [line for line in replica.log.splitlines() if f"{setting}={most}" in line]
        assert len([line for line in said if "connection=bids" in line]) == 1
        async with ledgers(settings_for(stores, **FITTING)) as made:
            assert await made.lua.place(bid(100)) == Accepted(1)
    finally:
        await rig.redis.config_set("maxmemory", "0")


async def test_bids_of_the_millisecond_in_which_redis_died_are_all_archived(
    stores: Stores, rig: Rig, services: Services
) -> None:
    async with ledgers(settings_for(stores)) as made:
        await asyncio.gather(*(made.lua.place(bid(100 + number)) for number in range(20)))
    entries = await outbox_entries(rig.redis, P)
    await rig.publish(BEGINNING, OutboxId.parse(entries[0][0]), entries[0][1])
    await rig.was_another_server()

    api = await services.api()
    await services.archival()

    await _drained(rig, api)
    code, said, _ = await services.run("archival", "audit", "--wait", "5")
    assert code == 0, said


async def _drained(rig: Rig, api: Service) -> None:
    async def drained() -> bool:
        return not await outbox_entries(rig.redis, P)

    await until(drained, within_s=20, log=lambda: api.log)


async def test_a_full_redis_is_drained_by_the_relay(
    servers: Servers, rig: Rig, services: Services
) -> None:
    api = await services.api()
    await services.archival()
    servers.stop("nats")
    async with aiohttp.ClientSession(api.url) as client:
        for number in range(200):
            assert (await ask(client, 100 + number))[0] == 201
    try:
        await rig.redis.config_set("maxmemory", 500_000)
        servers.start("nats")

        await _drained(rig, api)
        assert await metric(api, "bid_relay_leader") == 1
    finally:
        await rig.redis.config_set("maxmemory", 0)


async def test_a_gateway_started_beside_a_full_redis_serves_reads(
    rig: Rig, services: Services
) -> None:
    first = await services.api()
    async with aiohttp.ClientSession(first.url) as client:
        assert (await ask(client, 100))[0] == 201
    try:
        await rig.redis.config_set("maxmemory", 500_000)

        second = await services.api(env={"OUTBOX_MAX_ENTRIES": "100", "ITEMS_MAX": "40"})

        async with aiohttp.ClientSession(second.url) as client:
            assert (await ask(client))[0] == 200
    finally:
        await rig.redis.config_set("maxmemory", 0)


async def test_the_lease_is_taken_over_if_memory_was_full_when_its_holder_died(
    servers: Servers, rig: Rig, services: Services
) -> None:
    first = await services.api()
    await services.archival()
    async with aiohttp.ClientSession(first.url) as client:
        for number in range(50):
            assert (await ask(client, 100 + number))[0] == 201
    second = await services.api()
    holder = await rig.redis.get(RELAY_LEASE)
    assert holder

    async def ran_out() -> bool:
        return bool(await rig.redis.get(RELAY_LEASE) != holder)

    await first.replicas[0].end(signal.SIGKILL)
    try:
        await rig.redis.config_set("maxmemory", 500_000)
        await until(ran_out, within_s=10)
    finally:
        await rig.redis.config_set("maxmemory", 0)

    async def leads() -> bool:
        return await metric(second, "bid_relay_leader") == 1

    await until(leads, within_s=10, log=lambda: second.log)


@pytest.mark.timeout(90)
async def test_a_full_stream_makes_room_for_new_bids(rig: Rig, services: Services) -> None:
    """Archived messages are purged early; otherwise bids would wait for up to 24 hours."""
    env = {"STREAM_MAX_BYTES": str(1 << 20), "OUTBOX_MAX_ENTRIES": "1000"}
    api = await services.api(env=env)
    await services.archival(env=env)
    async with aiohttp.ClientSession(api.url) as client:

        async def taken(first: int) -> bool:
            answers = await asyncio.gather(*(ask(client, first + each) for each in range(50)))
            codes = {body.get("code") for status, body in answers if status == 503}
            assert codes <= {"outbox_full"}, codes
            return not codes

        for first in range(100, 6_100, 50):
            # The archive may lag for a moment and the outbox fill up.
            await until(partial(taken, first), within_s=15, log=lambda: api.log)
    assert await metric(api, "bid_stream_purged_total") > 0
    assert (await rig.nats.jetstream.stream_info(STREAM)).state.bytes < 1 << 20


@pytest.mark.timeout(90)
async def test_a_fail_over_that_closes_no_connection_is_followed(
    services: Services, tmp_path: Path
) -> None:
    """The old primary stays up as a replica and refuses writes; the address names the new one."""
    async with two_redis(tmp_path) as pair:
        api = await services.api(env={"REDIS_URL": pair.url})
        async with aiohttp.ClientSession(api.url) as client:
            assert (await ask(client, 100))[0] == 201

            await pair.fail_over()

            async def accepted() -> object:
                status, body = await ask(client, 200)
                return status == 201 and body["seq"]

            assert await until(accepted, within_s=30, log=lambda: api.log) == 2
