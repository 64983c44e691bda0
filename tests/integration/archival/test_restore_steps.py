"""A restore that fails at any step opens nothing, and the next run completes it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import pytest
import redis as blocking
from nats import connect
from nats.js.api import Header
from nats.js.errors import BadRequestError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pkg.archival.restore.archive_side import snapshot
from pkg.archival.restore.plan import make_plan
from pkg.archival.restore.rebuilding import (
    OpenedMeanwhileError,
    RemovedMeanwhileError,
    RestartedError,
    rebuild,
)
from pkg.archival.restore.redis_side import RedisSide
from pkg.archival.store import Connection
from pkg.auction.events import decode_batch, encode_batch
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import item_key, meta_key, outbox_key
from pkg.auction.outbox import OutboxId
from pkg.auction.subjects import STREAM, events_subject
from pkg.devkit.nats_users import RESTORE
from pkg.runtime.nats_link import nats_link
from pkg.runtime.settings.sections import NatsSettings
from pkg.stores.opening import open_partitions, require_open
from pkg.stores.redis_client import redis_client
from pkg.stores.redis_meta import RUN_ID, NotOpenError, server_run_id
from pkg.trials.waiting import until
from tests.integration.archival.auction import PARTITIONS, publish
from tests.integration.archival.conftest import Workers
from tests.integration.archival.looking import connected, everything_acknowledged
from tests.integration.archival.past import Past, archive_batches, items_in
from tests.integration.providers import Servers, Stores

ITEMS = [f"item-{number}" for number in range(1100)]
STEPS = 3 + PARTITIONS
"""Calls of `progress`: one for each page of items, one for each partition's tail."""


class InterruptingError(Exception):
    pass


async def rebuilt(
    stores: Stores,
    *,
    at_step: Callable[[int], None] = lambda _: None,
    opened_after_planning: bool = False,
    client: Redis | None = None,
) -> None:
    """Plans and rebuilds. Calls `at_step` with the number of each step, from 1."""
    step = 0

    def progress(_: str) -> None:
        nonlocal step
        step += 1
        at_step(step)

    client = client or redis_client(stores.redis_url, timeout_s=2, name="test")
    settings = NatsSettings(**stores.nats_of(RESTORE))
    async with aclosing(client), nats_link(settings, name="test") as link:
        await link.wait_connected()
        side = RedisSide(client, partitions=PARTITIONS)
        async with snapshot(stores.postgres_url) as archive:
            plan = await make_plan(side, archive, link.jetstream, progress=lambda _: None)
        if opened_after_planning:
            await open_partitions(
                client,
                partition_names(PARTITIONS),
                await server_run_id(client),
                partitions=PARTITIONS,
            )
        async with snapshot(stores.postgres_url) as archive:
            await rebuild(client, side, archive, link.jetstream, plan, progress=progress)


def opened(stores: Stores) -> list[str]:
    with blocking.Redis.from_url(stores.redis_url) as redis:
        return [
            name for name in partition_names(PARTITIONS) if redis.hexists(meta_key(name), RUN_ID)
        ]


@pytest.fixture
async def past(stores: Stores, archive: Connection) -> Past:
    """Two thirds archived, the rest in JetStream."""
    past = Past()
    archived, tail = past.bid(ITEMS, bids=2), past.bid(ITEMS[:50], bids=1)
    await publish(stores.nats_url, *tail)
    await archive_batches(archive, archived)
    return past


@pytest.mark.parametrize("opened_empty", [False, True])
async def test_nothing_is_open_before_the_last_step(
    stores: Stores, past: Past, *, opened_empty: bool
) -> None:
    seen: list[list[str]] = []
    if opened_empty:
        async with aclosing(redis_client(stores.redis_url, timeout_s=2, name="test")) as client:
            await open_partitions(
                client,
                partition_names(PARTITIONS),
                await server_run_id(client),
                partitions=PARTITIONS,
            )

    await rebuilt(stores, at_step=lambda _: seen.append(opened(stores)))

    assert seen == [[]] * STEPS
    assert opened(stores) == partition_names(PARTITIONS)


@pytest.mark.parametrize("fails_at", range(1, STEPS + 1))
async def test_restore_that_fails_at_any_step_is_completed_by_the_next_run(
    stores: Stores, past: Past, fails_at: int
) -> None:
    def fail(step: int) -> None:
        if step == fails_at:
            raise InterruptingError

    with pytest.raises(InterruptingError):
        await rebuilt(stores, at_step=fail)
    left_open = opened(stores)
    await rebuilt(stores)

    assert left_open == []
    assert await items_in(stores.redis_url) == past.state
    assert opened(stores) == partition_names(PARTITIONS)


async def test_messages_that_leave_the_stream_during_a_restore_are_noticed(
    stores: Stores, past: Past
) -> None:
    """The archive took them after the restore's snapshot, so neither source had them."""

    async def purge() -> None:
        nats = await connect(stores.nats_url)
        await nats.jetstream().purge_stream(STREAM)
        await nats.close()

    def purge_first(step: int) -> None:
        if step == 1:
            with ThreadPoolExecutor() as elsewhere:
                elsewhere.submit(asyncio.run, purge()).result()

    with pytest.raises(RemovedMeanwhileError):
        await rebuilt(stores, at_step=purge_first)

    assert opened(stores) == []


@pytest.mark.parametrize("restarts_at", [1, STEPS])
async def test_redis_that_restarts_during_a_restore_is_not_opened(
    servers: Servers, stores: Stores, past: Past, restarts_at: int
) -> None:
    def restart(step: int) -> None:
        if step == restarts_at:
            servers.kill("redis")
            servers.start("redis")

    # A client that reconnects meets no error; only the server's run id shows the restart.
    client = Redis.from_url(stores.redis_url, retry=Retry(NoBackoff(), 3))

    with pytest.raises(RestartedError):
        await rebuilt(stores, at_step=restart, client=client)
    left_open = opened(stores)
    await rebuilt(stores)

    assert left_open == []
    assert await items_in(stores.redis_url) == past.state


async def test_relay_that_paused_before_the_flush_can_no_longer_publish(
    stores: Stores, past: Past
) -> None:
    name, (sequence, stored) = "p01", await last_of(stores, "p01")

    await rebuilt(stores)

    _, barrier = await last_of(stores, name)
    late = encode_batch(name, prev=stored, last=stored.next(), events=[b"{}"])
    async with connected(stores.nats_url) as client:
        with pytest.raises(BadRequestError, match="wrong last sequence"):
            await client.jetstream().publish(
                events_subject(name),
                late,
                headers={Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(sequence)},
            )
    async with aclosing(redis_client(stores.redis_url, timeout_s=2, name="test")) as client_:
        info = await client_.xinfo_stream(outbox_key(name))
    assert OutboxId.parse(info["last-generated-id"]) >= barrier >= stored


async def test_barrier_is_not_a_dead_letter(
    stores: Stores, past: Past, archive: Connection, workers: Workers
) -> None:
    await rebuilt(stores)

    workers.start()

    await until(lambda: everything_acknowledged(stores.nats_url), within_s=15)
    assert await archive.fetchval("SELECT count(*) FROM dead_letters") == 0
    _, barrier = await last_of(stores, "p01")
    marks = await archive.fetch("SELECT * FROM watermarks WHERE partition = 'p01'")
    assert [OutboxId(row["last_ms"], row["last_n"]) for row in marks] == [barrier]


async def test_partitions_that_were_opened_separately_are_opened_together(
    stores: Stores, past: Past
) -> None:
    """Concurrent restores, or one killed while opening, may leave them like that."""
    await rebuilt(stores)
    async with aclosing(redis_client(stores.redis_url, timeout_s=2, name="test")) as client:
        mark = f"{await server_run_id(client)}:another"
        await client.hset(meta_key("p02"), RUN_ID, mark)
        with pytest.raises(NotOpenError):
            await require_open(client, partition_names(PARTITIONS))

        await rebuilt(stores)

        assert await require_open(client, partition_names(PARTITIONS))


async def last_of(stores: Stores, name: str) -> tuple[int, OutboxId]:
    async with connected(stores.nats_url) as client:
        message = await client.jetstream().get_last_msg(STREAM, events_subject(name))
    return message.seq or 0, OutboxId.parse(decode_batch(message.data or b"").last)


async def test_redis_with_items_that_was_opened_after_planning_is_unchanged(
    stores: Stores, past: Past
) -> None:
    await rebuilt_partly(stores)
    before = await items_in(stores.redis_url)

    with pytest.raises(OpenedMeanwhileError):
        await rebuilt(stores, opened_after_planning=True)

    assert await items_in(stores.redis_url) == before


async def rebuilt_partly(stores: Stores) -> None:
    def fail(_: int) -> None:
        raise InterruptingError

    with pytest.raises(InterruptingError):
        await rebuilt(stores, at_step=fail)


@pytest.mark.parametrize("item", ["vase", "lamp", "clock", None])
async def test_whether_redis_is_empty_is_found_in_one_walk_of_its_keys(
    stores: Stores, item: str | None
) -> None:
    async with Redis.from_url(stores.redis_url) as redis:
        if item is not None:
            await redis.hset(item_key(partition_of(item, PARTITIONS), item), "seq", "1")
        await redis.hset(meta_key("p00"), "partitions", str(PARTITIONS))
        await redis.config_resetstat()

        found = await RedisSide(redis, partitions=PARTITIONS).state()

        assert found.empty is (item is None)
        assert (await redis.info("commandstats"))["cmdstat_scan"]["calls"] == 1
