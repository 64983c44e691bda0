"""Opening Redis: what it lost is put back first, and where nobody can, no bid is taken."""

from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field

import aiohttp
import pytest
from redis.asyncio import Redis

from pkg.api.errors import RedisRecovering, RedisUnavailable
from pkg.api.event_stream import EventStream, StreamUnavailableError
from pkg.api.recovery import Recovery, RecoveryCounts
from pkg.auction.bid import Accepted, Outcome, Strategy
from pkg.auction.events import encode_batch
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import item_key, meta_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM
from pkg.runtime.nats_link import NatsLink
from pkg.runtime.redis_meta import (
    RUN_ID,
    NotOpenError,
    open_partitions,
    require_open,
    server_run_id,
)
from tests.integration.api.parts import (
    PARTITIONS,
    bid,
    decoded_outbox,
    event_stream,
    ledgers,
    opened,
    outbox_entries,
    settings_for,
    stream_events,
)
from tests.integration.processes import Service, Services
from tests.integration.providers import Servers, Stores
from tests.waiting import until

P = partition_of("vase", PARTITIONS)
ANOTHER = "another-server:0000"
NOBODY: Mapping[str, OutboxId] = {}


@dataclass
class House:
    """What a recovery works on."""

    redis: Redis
    stream: EventStream
    nats: NatsLink
    counts: RecoveryCounts = field(default_factory=RecoveryCounts)

    def recovery(self, *, wait_s: float = 60.0, hearing_s: float = 0.0) -> Recovery:
        return Recovery(
            self.redis,
            self.nats,
            self.stream,
            partitions=PARTITIONS,
            wait_s=wait_s,
            hearing_s=hearing_s,
            counts=self.counts,
        )

    async def is_open(self) -> bool:
        try:
            await require_open(self.redis, PARTITIONS)
        except NotOpenError:
            return False
        return True

    async def was_another_server(self) -> None:
        for name in partition_names(PARTITIONS):
            await self.redis.hset(meta_key(name), RUN_ID, ANOTHER)

    async def publish(self, prev: OutboxId, last: OutboxId, *events: bytes) -> None:
        await self.stream.prepare()
        sequence, _ = await self.stream.last(P)
        batch = encode_batch(P, prev=prev, last=last, events=events)
        await self.stream.publish(P, batch, expected=sequence)

    async def publish_outbox(self) -> OutboxId:
        """All that stands in the outbox, as the relay would; the id it ends with."""
        entries = await outbox_entries(self.redis, P)
        last = OutboxId.parse(entries[-1][0])
        await self.publish(BEGINNING, last, *(event for _, event in entries))
        return last

    async def next_id(self) -> OutboxId:
        """The id that the partition's next entry gets."""
        return OutboxId.parse(await self.redis.xadd(outbox_key(P), {"e": ""}))


@pytest.fixture
async def house(stores: Stores) -> AsyncIterator[House]:
    async with (
        event_stream(settings_for(stores)) as (stream, nats),
        Redis.from_url(stores.redis_url) as redis,
    ):
        yield House(redis, stream, nats)


async def refused(house: House, recovery: Recovery, archived: Mapping[str, OutboxId]) -> None:
    """Restore is wanted, and Redis stays closed."""
    with pytest.raises(RedisRecovering):
        await recovery.ensure_open(archived)
    assert house.counts.waiting_for_restore
    assert house.counts.recoveries == 0
    assert not await house.is_open()


async def test_new_redis_beside_a_new_stream_is_opened_once(house: House) -> None:
    recovery = house.recovery()

    assert await recovery.ensure_open(NOBODY)

    assert await house.is_open()
    assert not await recovery.ensure_open(NOBODY)
    assert house.counts == RecoveryCounts(recoveries=1)


async def test_lost_tail_is_put_back_and_the_next_bid_goes_on_behind_it(
    stores: Stores, house: House
) -> None:
    keys = [item_key(P, "vase"), outbox_key(P)]
    async with ledgers(settings_for(stores)) as made:
        for cents in (100, 200):
            await made.lua.place(bid(cents, user="ann"))
        on_disk = [await house.redis.dump(key) for key in keys]
        for cents in (300, 400, 500):
            await made.lua.place(bid(cents, user="bob"))
        end = await house.publish_outbox()
        before = await house.redis.hgetall(keys[0])
        for key, dumped in zip(keys, on_disk, strict=True):
            assert dumped is not None
            await house.redis.restore(key, 0, dumped, replace=True)
        await house.was_another_server()
        assert await house.redis.hget(keys[0], "seq") == b"2"

        assert await house.recovery().ensure_open(NOBODY)

        assert await house.redis.hgetall(keys[0]) == before
        assert house.counts == RecoveryCounts(recoveries=1, put_back=3)
        outcome = await until(
            lambda: made.lua.place(bid(600, user="cleo")),
            within_s=10,
            forgiving=(RedisRecovering, RedisUnavailable),
        )
        assert outcome == Accepted(6)
        entries = await outbox_entries(house.redis, P)
        assert OutboxId.parse(entries[-1][0]) > end
        assert [each.seq for each in (await decoded_outbox(house.redis))["vase"]] == [1, 2, 6]


async def test_outbox_goes_on_above_every_id_of_the_stream_though_the_clock_was_ahead(
    house: House,
) -> None:
    """Else the relay would take the next bids for events that the stream holds already."""
    ahead = OutboxId(9_000_000_000_000, 7)
    await house.publish(BEGINNING, ahead)
    await house.was_another_server()

    await house.recovery().ensure_open(NOBODY)

    _, barrier = await house.stream.last(P)
    assert await house.next_id() > barrier > ahead


async def test_archive_that_is_ahead_of_redis_and_stream_wants_restore(house: House) -> None:
    await house.publish(BEGINNING, OutboxId(100, 0))
    await house.was_another_server()

    await refused(house, house.recovery(), {P: OutboxId(9_000_000_000_000, 0)})


async def test_stream_that_begins_behind_the_outbox_wants_restore(house: House) -> None:
    """What lay in between was archived and left the stream, or is lost."""
    await house.redis.xadd(outbox_key(P), {"e": ""}, id="50-0")
    await house.publish(OutboxId(100, 0), OutboxId(200, 0))
    await house.was_another_server()

    await refused(house, house.recovery(), NOBODY)


async def test_empty_redis_beside_a_stream_that_held_something_wants_restore(house: House) -> None:
    """Also when every message has left the stream by now."""
    await house.publish(BEGINNING, OutboxId(100, 0))
    await house.nats.jetstream.purge_stream(STREAM)

    await refused(house, house.recovery(), NOBODY)


async def test_empty_redis_beside_an_archive_that_is_not_wants_restore(house: House) -> None:
    await refused(house, house.recovery(hearing_s=60), {P: OutboxId(1, 0)})


async def test_archive_is_listened_for_before_an_empty_redis_is_opened(house: House) -> None:
    recovery = house.recovery(hearing_s=0.5)

    with pytest.raises(RedisRecovering):
        await recovery.ensure_open(NOBODY)

    assert not await house.is_open()
    assert not house.counts.waiting_for_restore
    assert await until(
        lambda: recovery.ensure_open(NOBODY), within_s=5, forgiving=(RedisRecovering,)
    )


async def test_nats_that_stays_away_is_waited_for_and_then_done_without(
    servers: Servers, house: House
) -> None:
    await house.was_another_server()
    servers.stop("nats")
    await until(lambda: not house.nats.connected, within_s=5)
    recovery = house.recovery(wait_s=0.5)

    with pytest.raises(RedisRecovering):
        await recovery.ensure_open(NOBODY)

    assert not await house.is_open()
    assert await until(
        lambda: recovery.ensure_open(NOBODY), within_s=15, forgiving=(RedisRecovering,)
    )
    assert await house.is_open()
    assert house.counts == RecoveryCounts(recoveries=1, without_stream=1)


async def test_publish_fenced_before_the_recovery_is_refused_after_it(house: House) -> None:
    """A relay that was paused holds entries that Redis has lost: they must not come in late."""
    await house.publish(BEGINNING, OutboxId(100, 0))
    await house.was_another_server()
    fence, last = await house.stream.last(P)

    await house.recovery().ensure_open(NOBODY)

    stale = encode_batch(P, prev=last, last=OutboxId(150, 0), events=[])
    with pytest.raises(StreamUnavailableError):
        await house.stream.publish(P, stale, expected=fence)


async def test_connection_idle_while_redis_was_emptied_and_opened_again_uses_nothing_old(
    stores: Stores, house: House
) -> None:
    async with ledgers(settings_for(stores)) as made:
        for strategy in Strategy:
            await made.of(strategy).place(bid(50_000, item=f"item-{strategy}"))
        connects = made.hot.connects

        await house.redis.flushall()
        await opened(stores.redis_url)

        for strategy in Strategy:
            with pytest.raises((RedisRecovering, RedisUnavailable)):
                await made.of(strategy).place(bid(60_000, item=f"item-{strategy}"))
        assert await decoded_outbox(house.redis) == {}
        await until(lambda: made.hot.connects > connects, within_s=10)
        await made.up()
        for strategy in Strategy:
            assert await made.of(strategy).place(bid(100, item=f"item-{strategy}")) == Accepted(1)


async def test_connection_that_only_refuses_from_its_cache_is_told_of_the_reopening(
    stores: Stores, house: House
) -> None:
    """Nothing it sends would tell it: bids below the remembered price never reach Redis."""
    async with ledgers(settings_for(stores)) as made:
        await made.lua.place(bid(50_000))

        await house.redis.flushall()
        await opened(stores.redis_url)

        outcome = await until(
            lambda: _accepted(made.lua.place(bid(100))),
            within_s=10,
            forgiving=(RedisRecovering, RedisUnavailable),
        )
        assert outcome == Accepted(1)


async def _accepted(placing: Awaitable[Outcome]) -> Accepted | None:
    outcome = await placing
    return outcome if isinstance(outcome, Accepted) else None


async def ask(
    client: aiohttp.ClientSession, cents: int | None = None
) -> tuple[int, dict[str, object]]:
    """A bid, or without an amount a read."""
    path = "/api/v1/items/vase"
    if cents is None:
        async with client.get(path) as answer:
            return answer.status, await answer.json()
    body = b'{"user_id":"ann","amount":%d.%02d}' % (cents // 100, cents % 100)
    async with client.post(f"{path}/bid", data=body) as answer:
        return answer.status, await answer.json()


async def metric(api: Service, name: str) -> float:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{api.replicas[0].admin_url}/metrics") as page,
    ):
        lines = (await page.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def test_redis_that_crashed_takes_bids_again_as_another_server(
    servers: Servers, house: House, services: Services
) -> None:
    api = await services.api()
    async with aiohttp.ClientSession(api.url) as client:
        for cents in range(1, 21):
            assert (await ask(client, cents))[0] == 201
        was = await server_run_id(house.redis)

        servers.kill("redis")
        servers.start("redis")

        async def accepted() -> object:
            status, body = await ask(client, 5_000)
            return status == 201 and body["seq"]

        assert await until(accepted, within_s=15, log=lambda: api.log) == 21
    await house.redis.connection_pool.disconnect()  # its connection is the dead server's
    assert await server_run_id(house.redis) != was
    assert await house.is_open()
    assert await metric(api, "bid_recoveries_total") == 2  # the new one, and the restarted


async def test_emptied_redis_beside_a_stream_that_is_not_answers_503_until_restore(
    house: House, services: Services
) -> None:
    api = await services.api()
    async with aiohttp.ClientSession(api.url) as client:
        assert (await ask(client, 100))[0] == 201

        async def told() -> bool:
            return sum(map(len, (await stream_events(house.nats)).values())) == 1

        await until(told, within_s=5, forgiving=(Exception,), log=lambda: api.log)

        await house.redis.flushall()

        async def wants_restore() -> bool:
            return await metric(api, "bid_restore_needed") == 1

        await until(wants_restore, within_s=10, log=lambda: api.log)
        for cents in (200, None):

            async def recovering(cents: int | None = cents) -> bool:
                status, body = await ask(client, cents)
                return (status, body.get("code")) == (503, "redis_recovering")

            await until(recovering, within_s=5, log=lambda: api.log)
    assert not await house.is_open()
    assert await house.redis.exists(item_key(P, "vase"), outbox_key(P)) == 0


async def test_outboxes_that_may_not_fit_into_redis_are_told_before_the_first_bid(
    stores: Stores, house: House, services: Services
) -> None:
    await house.redis.config_set("maxmemory", "100mb")
    try:
        await open_partitions(house.redis, PARTITIONS, await server_run_id(house.redis))
        env = {"OUTBOX_MAX_ENTRIES": "50000", "START_GRACE_S": "0.2"}
        api = await services.api(env=env, wait=False)
        replica = api.replicas[0]

        await until(lambda: "maxmemory" in replica.log, within_s=10, log=lambda: replica.log)

        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{replica.admin_url}/ready") as answer,
        ):
            assert answer.status == 503
            assert (await answer.json())["checks"]["redis"] == "refused"
        said = [line for line in replica.log.splitlines() if "OUTBOX_MAX_ENTRIES=50000" in line]
        assert len([line for line in said if "connection=bids" in line]) == 1
        async with ledgers(settings_for(stores, OUTBOX_MAX_ENTRIES="20000")) as made:
            assert await made.lua.place(bid(100)) == Accepted(1)
    finally:
        await house.redis.config_set("maxmemory", "0")
