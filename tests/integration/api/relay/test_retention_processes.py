"""Gateways whose archive is away: the outbox and then the stream carry what it lacks."""

import asyncio
import json
from dataclasses import dataclass, field

import aiohttp
import pytest

from pkg.auction.keys import outbox_key
from pkg.trials.waiting import until
from tests.integration.api.parts import outbox_entries
from tests.integration.api.relay.recovering import P, Rig, ask
from tests.integration.processes import Service, Services
from tests.integration.providers import Servers

MIB = 1 << 20
RETRIES = 6
"""Of the relay, which take some 2.5 s: its pauses double up to one second."""


@dataclass
class Bidder:
    """Bids more each time, and keeps count."""

    client: aiohttp.ClientSession
    accepted: int = 0
    codes: set[object] = field(default_factory=set)

    async def bid(self, count: int = 1) -> bool:
        """Bids at once; False if any was refused."""
        first = 100 + self.accepted
        answers = await asyncio.gather(*(ask(self.client, first + each) for each in range(count)))
        self.accepted += sum(status == 201 for status, _ in answers)
        self.codes |= {body["code"] for status, body in answers if status == 503}
        return not self.codes


async def gauge(api: Service, name: str) -> float:
    """Of partition P."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{api.replicas[0].admin_url}/metrics") as page,
    ):
        lines = (await page.text()).splitlines()
    start = f'{name}{{partition="{P}"}} '
    return next(float(line.split()[1]) for line in lines if line.startswith(start))


async def everything_is_archived(rig: Rig, services: Services, api: Service, bids: int) -> None:
    async def drained() -> bool:
        return not await outbox_entries(rig.redis, P)

    await until(drained, within_s=60, log=lambda: api.log)
    code, said, _ = await services.run("archival", "audit", "--wait", "20", "--json")
    assert code == 0, said
    assert json.loads(said)["archived"] == bids


@pytest.mark.timeout(180)
async def test_bids_older_than_the_stream_keeps_are_archived_when_postgres_returns(
    servers: Servers, rig: Rig, services: Services
) -> None:
    env = {"STREAM_KEEP_S": "1", "OUTBOX_MAX_ENTRIES": "10"}
    api = await services.api(env=env)
    worker = await services.archival()
    async with aiohttp.ClientSession(api.url) as client:
        bidder = Bidder(client)
        assert await bidder.bid()
        await everything_is_archived(rig, services, api, 1)
        servers.stop("postgres")
        await worker.replicas[0].end()  # it would keep some bids in its memory
        for _ in range(11):
            assert await bidder.bid()
            await until(lambda: _has_room(rig, 10), within_s=10, log=lambda: api.log)

        async def looked_for_old_messages_since() -> bool:
            return await gauge(api, "bid_outbox_age_seconds") > 12

        await until(looked_for_old_messages_since, within_s=40, log=lambda: api.log)
        assert await gauge(api, "bid_outbox_entries") < 11
        assert await gauge(api, "bid_outbox_depth") >= 11

        servers.start("postgres")
        await services.archival()
        await everything_is_archived(rig, services, api, 12)


async def _has_room(rig: Rig, max_entries: int) -> bool:
    return int(await rig.redis.xlen(outbox_key(P))) < max_entries


@pytest.mark.timeout(420)
async def test_the_outbox_then_the_stream_then_again_the_outbox_fill_up_and_nothing_is_lost(
    servers: Servers, rig: Rig, services: Services
) -> None:
    """And a Redis that restarts meanwhile is open again."""
    env = {"STREAM_MAX_BYTES": str(MIB), "OUTBOX_MAX_ENTRIES": "400", "RECOVERY_WAIT_S": "3600"}
    api = await services.api(env=env)
    await services.archival(env=env)
    async with aiohttp.ClientSession(api.url) as client:
        bidder = Bidder(client)
        assert await bidder.bid()
        await everything_is_archived(rig, services, api, 1)
        servers.stop("postgres")

        async def all_full() -> bool:
            """The outbox stays full over several tries of the relay: a stream that refuses one
            batch may still have room for a smaller one.
            """
            while await _has_room(rig, 400):
                await bidder.bid(50)
            before = await _total(api, "bid_relay_failures_total")

            async def drained_or_retried() -> bool:
                failures = await _total(api, "bid_relay_failures_total")
                return failures >= before + RETRIES or await _has_room(rig, 400)

            await until(drained_or_retried, within_s=60, log=lambda: api.log)
            return not await _has_room(rig, 400)

        async def refused() -> bool:
            """An opening that the archive has may leave the stream, which makes room for a bid."""
            return await all_full() and not await bidder.bid()

        await until(refused, within_s=120, log=lambda: api.log)
        assert bidder.codes == {"outbox_full"}
        unarchived = bidder.accepted - 1
        assert unarchived > 2_000

        async def told() -> bool:
            entries = await gauge(api, "bid_outbox_entries")
            return entries > 390 and await gauge(api, "bid_outbox_depth") >= unarchived

        await until(told, within_s=30, log=lambda: api.log)
        age_s = await gauge(api, "bid_outbox_age_seconds")

        servers.stop("redis")
        servers.start("redis")
        await rig.redis.connection_pool.disconnect()

        async def open_and_full() -> bool:
            status, body = await ask(client, 10_000_000 + bidder.accepted)
            bidder.accepted += status == 201
            return body.get("code") == "outbox_full"

        await until(open_and_full, within_s=60, log=lambda: api.log)

        async def grows() -> bool:
            return await gauge(api, "bid_outbox_age_seconds") > age_s

        await until(grows, within_s=30, log=lambda: api.log)

        servers.start("postgres")
        await everything_is_archived(rig, services, api, bidder.accepted)
        assert (await ask(client, 20_000_000))[0] == 201
    assert await _total(api, "bid_recoveries_without_stream_total") == 0


async def _total(api: Service, name: str) -> float:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{api.replicas[0].admin_url}/metrics") as page,
    ):
        lines = (await page.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))
