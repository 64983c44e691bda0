"""The stores of a new system, and those of the release before, agree on a system's id."""

import asyncio

import aiohttp
import asyncpg
import nats
from redis.asyncio import Redis

from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key
from pkg.auction.subjects import STREAM
from pkg.stores.redis_meta import SYSTEM
from pkg.stores.stream import ensure_stream, stream_config
from pkg.stores.system import as_text, name_stream, system_of
from pkg.trials.waiting import until
from tests.integration.api.parts import PARTITIONS, opened, settings_for
from tests.integration.processes import Service, Services
from tests.integration.providers import Stores


async def systems(stores: Stores) -> set[str | None]:
    """The ids that Redis, the stream and the archive name."""
    async with Redis.from_url(stores.redis_url) as redis:
        names = partition_names(PARTITIONS)
        found = {as_text(await redis.hget(meta_key(name), SYSTEM)) for name in names}
    client = await nats.connect(stores.nats_url)
    try:
        found.add(system_of((await client.jetstream().stream_info(STREAM)).config))
    finally:
        await client.close()
    archive = await asyncpg.connect(stores.postgres_url)
    try:
        return found | {await archive.fetchval("SELECT id FROM system")}
    finally:
        await archive.close()


async def agreed(stores: Stores) -> bool:
    found = await systems(stores)
    return len(found) == 1 and found != {None}


async def status_of_a_bid(api: Service, amount: int) -> int | str:
    """The status; in place of a 503 its code."""
    body = {"user_id": "ann", "amount": amount}
    async with (
        aiohttp.ClientSession(api.url) as client,
        client.post("/api/v1/items/vase/bid", json=body) as answer,
    ):
        code: str | None = (await answer.json()).get("code")
        return code or answer.status


async def test_a_new_system_takes_bids_once_its_archive_runs(
    services: Services, stores: Stores
) -> None:
    api = await services.api(declared_new=False, wait=False)
    gateway = api.replicas[0]

    async def waits_for_the_archive() -> bool:
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{gateway.admin_url}/ready") as answer,
        ):
            checks = (await answer.json())["checks"]
            return (answer.status, checks["recovery"]) == (503, "waits for the archive")

    await until(waits_for_the_archive, within_s=15, forgiving=(OSError,), log=lambda: api.log)
    await services.archival()
    await gateway.becomes_ready(within_s=5)

    assert await status_of_a_bid(api, 1) == 201
    await until(lambda: agreed(stores), within_s=10, log=lambda: api.log)


async def test_a_redis_that_is_emptied_before_the_first_bid_takes_bids_again(
    services: Services, stores: Stores
) -> None:
    """Also once its first opening is in the stream: that is no other Redis'."""
    api = await services.api(declared_new=False, wait=False)
    await services.archival()
    await api.replicas[0].becomes_ready()
    await until(lambda: openings_in_the_stream(stores), within_s=15, log=lambda: api.log)

    async with Redis.from_url(stores.redis_url) as redis:
        await redis.flushall()

    async def takes_bids() -> bool:
        return await status_of_a_bid(api, 1) == 201

    await until(takes_bids, within_s=20, log=lambda: api.log)


async def openings_in_the_stream(stores: Stores) -> bool:
    """Of every partition."""
    client = await nats.connect(stores.nats_url)
    try:
        return (await client.jetstream().stream_info(STREAM)).state.messages >= PARTITIONS
    finally:
        await client.close()


async def test_stores_of_the_release_before_agree_on_an_id_and_refuse_no_bid(
    services: Services, stores: Stores
) -> None:
    await opened(stores.redis_url)  # as that release did: without an id
    api = await services.api(declared_new=False)
    amounts = iter(range(1, 1_000_000))
    bidding, statuses = asyncio.Event(), set[int | str]()

    async def bid_on() -> None:
        while not bidding.is_set():
            statuses.add(await status_of_a_bid(api, next(amounts)))

    bidder = asyncio.create_task(bid_on())
    await services.archival()
    await until(lambda: agreed(stores), within_s=20, log=lambda: api.log)
    bidding.set()
    await bidder

    assert statuses == {201}
    code, said, _ = await services.run("archival", "audit")
    assert code == 0, said


async def test_a_running_gateway_that_meets_another_systems_stream_publishes_nothing(
    services: Services, stores: Stores
) -> None:
    """NATS comes back as another system's: a wrong address, or a restored disk."""
    api = await services.api()
    await services.archival()
    assert await status_of_a_bid(api, 1) == 201
    await until(lambda: agreed(stores), within_s=20, log=lambda: api.log)
    config = stream_config(settings_for(stores))

    async with stores.nats_administrator() as administrator:
        jetstream = administrator.jetstream()
        await jetstream.delete_stream(STREAM)
        await ensure_stream(jetstream, config)
        await name_stream(jetstream, "theirs")
        amounts = iter(range(2, 1_000_000))

        async def refused() -> bool:
            return await status_of_a_bid(api, next(amounts)) == "other_system"

        await until(refused, within_s=45, log=lambda: api.log)
        assert "check REDIS_URL and NATS_URL" in api.log
        published = (await jetstream.stream_info(STREAM)).state.last_seq
        await jetstream.delete_stream(STREAM)  # back on our own, which has lost its disk

        async def accepted() -> bool:
            return await status_of_a_bid(api, next(amounts)) == 201

        await until(accepted, within_s=45, log=lambda: api.log)

    assert published == 0
    code, said, _ = await services.run("archival", "audit")
    assert code == 0, said
