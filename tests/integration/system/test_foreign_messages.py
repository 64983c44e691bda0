"""Messages on our subjects that nobody of ours published."""

import time

import aiohttp
import nats
import pytest
from redis.asyncio import Redis

from pkg.archival.store import Connection
from pkg.auction.events import encode_watermark
from pkg.auction.item import partition_of
from pkg.auction.keys import outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import SUPERSEDED, archived_subject, events_subject
from pkg.trials.waiting import until
from tests.integration.api.parts import outbox_entries
from tests.integration.archival.looking import holds
from tests.integration.processes import Services
from tests.integration.providers import Servers, Stores

P = "p02"
WATERMARKS_REFUSED = "bid_watermarks_refused_total"
FOREIGN_MESSAGES = "bid_foreign_messages_total"


def items_of(partition: str, count: int) -> list[str]:
    names = (f"item-{number}" for number in range(1000))
    return [name for name in names if partition_of(name, 4) == partition][:count]


async def _bid(client: aiohttp.ClientSession, item: str) -> None:
    url = f"/api/v1/items/{item}/bid"
    async with client.post(url, json={"user_id": "ann", "amount": 5}) as answer:
        assert answer.status == 201, await answer.text()


async def _metric(client: aiohttp.ClientSession, name: str) -> float:
    async with client.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


async def _dead_letters(archive: Connection) -> list[str]:
    return [row["reason"] for row in await archive.fetch("SELECT reason FROM dead_letters")]


POISON = {
    "an epoch above bigint": (
        events_subject(P),
        b'{"v":1,"partition":"p02","prev":"0-0","last":"0-0","events":[],"epoch":%d}' % 2**63,
    ),
    "an epoch above which is none": (
        events_subject(P),
        b'{"v":1,"partition":"p02","prev":"0-0","last":"0-0","events":[],"epoch":%d}' % (2**63 - 1),
    ),
    "a partition of NUL": (
        events_subject(SUPERSEDED),
        b'{"v":1,"partition":"\\u0000","prev":"0-0","last":"1-0","events":[1]}',
    ),
    "a watermark of an epoch above which is none": (
        archived_subject(P),
        encode_watermark(P, BEGINNING, 2**63 - 1),
    ),
}


@pytest.mark.parametrize(("subject", "data"), POISON.values(), ids=POISON.keys())
async def test_one_message_that_no_store_can_hold_stops_neither_bids_nor_the_archive(
    stores: Stores, services: Services, archive: Connection, subject: str, data: bytes
) -> None:
    api = await services.api()
    worker = await services.archival()
    async with (
        aiohttp.ClientSession(api.url) as client,
        await nats.connect(stores.nats_url) as administrator,
    ):
        await _bid(client, items_of("p00", 1)[0])
        await until(lambda: holds(archive, 1), within_s=30, log=lambda: worker.log)

        await administrator.publish(subject, data)
        await administrator.flush()
        if subject == archived_subject(P):
            await until(lambda: _metric(client, WATERMARKS_REFUSED), within_s=15)
        else:
            await until(lambda: _dead_letters(archive), within_s=15, log=lambda: worker.log)
        for partition in ("p00", P, "p03"):
            await _bid(client, items_of(partition, 2)[1])

        await until(lambda: holds(archive, 4), within_s=30, log=lambda: worker.log)


async def test_a_message_that_ends_with_a_bid_it_does_not_hold_loses_none(
    stores: Stores, services: Services, servers: Servers, archive: Connection
) -> None:
    api = await services.api()
    worker = await services.archival()
    first, *more = items_of(P, 11)
    async with (
        aiohttp.ClientSession(api.url) as client,
        Redis.from_url(stores.redis_url) as redis,
    ):

        async def trimmed() -> bool:
            return not await outbox_entries(redis, P)

        await _bid(client, first)
        await until(trimmed, within_s=30, log=lambda: api.log)
        servers.stop("nats")
        for item in more:
            await _bid(client, item)
        end = (await redis.xinfo_stream(outbox_key(P)))["last-generated-id"].decode()
        servers.start("nats")
        lie = f'{{"v":1,"partition":"{P}","prev":"0-0","last":"{end}","events":[1]}}'.encode()
        async with await nats.connect(stores.nats_url) as administrator:
            await administrator.jetstream().publish(events_subject(P), lie)

        await until(lambda: holds(archive, 11), within_s=30, log=lambda: api.log + worker.log)
        foreign = await _metric(client, FOREIGN_MESSAGES)

    # If the relay was faster, the message is only a bad one.
    assert foreign <= 1


@pytest.mark.parametrize(
    ("events", "is_batch"),
    [("[]", 1), ("[1]", 1), ("7", 0)],
    ids=["without events", "with a bad event", "not a batch"],
)
async def test_a_batch_and_a_watermark_from_the_future_lose_no_bid_and_raise_alarms(
    stores: Stores, services: Services, archive: Connection, events: str, is_batch: int
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
            events_subject(P),
            f'{{"v":1,"partition":"{P}","prev":"0-0","last":"{ahead}","events":{events}}}'.encode(),
        )
        for item in items_of(P, 6):
            await _bid(client, item)

        async def trimmed() -> bool:
            return not await outbox_entries(redis, P)

        async def refused() -> bool:
            # Repeated, as an archive does: the relay may not have subscribed yet.
            await administrator.publish(archived_subject(P), encode_watermark(P, ahead))
            return await _metric(client, WATERMARKS_REFUSED) == 1

        await until(trimmed, within_s=15, log=lambda: api.log)
        await until(refused, within_s=15, log=lambda: api.log)
        foreign = await _metric(client, FOREIGN_MESSAGES)
    code, said, _ = await services.run("archival", "audit", "--json")

    assert foreign == is_batch
    assert len(await _dead_letters(archive)) == 1
    assert code == 0, said
    assert '"archived": 6' in said
