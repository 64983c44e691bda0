"""Messages on our subjects that nobody of ours published."""

import time

import aiohttp
import nats
from redis.asyncio import Redis

from pkg.auction.events import encode_batch, encode_watermark
from pkg.auction.item import partition_of
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import archived_subject, events_subject
from pkg.trials.waiting import until
from tests.integration.api.parts import outbox_entries
from tests.integration.processes import Services
from tests.integration.providers import Stores

P = "p02"


def items_of(partition: str, count: int) -> list[str]:
    names = (f"item-{number}" for number in range(1000))
    return [name for name in names if partition_of(name, 4) == partition][:count]


async def test_a_batch_and_a_watermark_from_the_future_lose_no_bid_and_raise_alarms(
    stores: Stores, services: Services
) -> None:
    ahead = OutboxId(int(time.time() + 3600) * 1000, 0)
    api = await services.api()
    await services.archival()
    async with (
        aiohttp.ClientSession(api.url) as client,
        await nats.connect(stores.nats_url) as administrator,  # services may publish neither
        Redis.from_url(stores.redis_url) as redis,
    ):
        await administrator.jetstream().publish(
            events_subject(P), encode_batch(P, prev=BEGINNING, last=ahead, events=[])
        )
        for item in items_of(P, 6):
            url = f"/api/v1/items/{item}/bid"
            async with client.post(url, json={"user_id": "ann", "amount": 5}) as answer:
                assert answer.status == 201

        async def metric(name: str) -> float:
            async with client.get("/metrics") as answer:
                lines = (await answer.text()).splitlines()
            return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

        async def trimmed() -> bool:
            return not await outbox_entries(redis, P)

        async def refused() -> bool:
            # Repeated, as an archive does: the relay may not have subscribed yet.
            await administrator.publish(archived_subject(P), encode_watermark(P, ahead))
            return await metric("bid_watermarks_refused_total") == 1

        await until(trimmed, within_s=15, log=lambda: api.log)
        await until(refused, within_s=15, log=lambda: api.log)
        foreign = await metric("bid_foreign_messages_total")
    code, said, _ = await services.run("archival", "audit", "--json")

    assert foreign == 1
    assert code == 0, said
    assert '"archived": 6' in said
