"""Restore broken off at any of its steps: nothing is open, and the next run completes it."""

from collections.abc import Callable
from contextlib import aclosing

import pytest
import redis as blocking
from nats.js.api import Header
from nats.js.errors import BadRequestError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pkg.archival.restore.archive_side import snapshot
from pkg.archival.restore.plan import weigh
from pkg.archival.restore.rebuilding import OpenedMeanwhileError, RestartedError, rebuild
from pkg.archival.restore.redis_side import RedisSide
from pkg.archival.store import Connection
from pkg.auction.events import decode_batch, encode_batch
from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key, outbox_key
from pkg.auction.outbox import OutboxId
from pkg.auction.subjects import STREAM, events_subject
from pkg.runtime.nats_link import nats_link
from pkg.runtime.settings.sections import NatsSettings
from pkg.stores.redis_meta import (
    RUN_ID,
    NotOpenError,
    open_partitions,
    redis_client,
    require_open,
    server_run_id,
)
from pkg.trials.waiting import until
from tests.integration.archival.auction import PARTITIONS, publish
from tests.integration.archival.conftest import Workers
from tests.integration.archival.looking import connected, everything_acknowledged
from tests.integration.archival.past import Past, archive_batches, items_in
from tests.integration.providers import Servers, Stores

ITEMS = [f"item-{number}" for number in range(1100)]
STEPS = 3 + PARTITIONS
"""Three pages of items, then the partitions' tails: what progress is told of."""


class BrokenOffError(Exception):
    pass


async def rebuilt(
    stores: Stores,
    *,
    at_step: Callable[[int], None] = lambda _: None,
    opened_between: bool = False,
    client: Redis | None = None,
) -> None:
    """Plan and rebuilding; `at_step` is called with the number of each step from 1 on."""
    step = 0

    def progress(_: str) -> None:
        nonlocal step
        step += 1
        at_step(step)

    client = client or redis_client(stores.redis_url, timeout_s=2, name="test")
    settings = NatsSettings(nats_url=stores.nats_url)
    async with aclosing(client), nats_link(settings, name="test") as link:
        await link.wait_connected()
        side = RedisSide(client, partitions=PARTITIONS)
        async with snapshot(stores.postgres_url) as archive:
            plan = await weigh(side, archive, link.jetstream, progress=lambda _: None)
        if opened_between:
            await open_partitions(client, PARTITIONS, await server_run_id(client))
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
    archived, tail = past.go_on(ITEMS, bids=2), past.go_on(ITEMS[:50], bids=1)
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
            await open_partitions(client, PARTITIONS, await server_run_id(client))

    await rebuilt(stores, at_step=lambda _: seen.append(opened(stores)))

    assert seen == [[]] * STEPS
    assert opened(stores) == partition_names(PARTITIONS)


@pytest.mark.parametrize("broken_at", range(1, STEPS + 1))
async def test_broken_off_at_any_step_the_next_run_completes_it(
    stores: Stores, past: Past, broken_at: int
) -> None:
    def break_off(step: int) -> None:
        if step == broken_at:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        await rebuilt(stores, at_step=break_off)
    left_open = opened(stores)
    await rebuilt(stores)

    assert left_open == []
    assert await items_in(stores.redis_url) == past.state
    assert opened(stores) == partition_names(PARTITIONS)


@pytest.mark.parametrize("restarts_at", [1, STEPS])
async def test_redis_that_restarts_meanwhile_is_not_opened(
    servers: Servers, stores: Stores, past: Past, restarts_at: int
) -> None:
    def restart(step: int) -> None:
        if step == restarts_at:
            servers.kill("redis")
            servers.start("redis")

    # One that connects again by itself meets no error: the server's own id must tell.
    client = Redis.from_url(stores.redis_url, retry=Retry(NoBackoff(), 3))

    with pytest.raises(RestartedError):
        await rebuilt(stores, at_step=restart, client=client)
    left_open = opened(stores)
    await rebuilt(stores)

    assert left_open == []
    assert await items_in(stores.redis_url) == past.state


async def test_relay_that_slept_since_before_the_flush_cannot_publish_any_more(
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


async def test_what_bars_the_way_is_no_dead_letter(
    stores: Stores, past: Past, archive: Connection, workers: Workers
) -> None:
    await rebuilt(stores)

    workers.start()

    await until(lambda: everything_acknowledged(stores.nats_url), within_s=15)
    assert await archive.fetchval("SELECT count(*) FROM dead_letters") == 0
    _, barrier = await last_of(stores, "p01")
    marks = await archive.fetch("SELECT * FROM watermarks WHERE partition = 'p01'")
    assert [OutboxId(row["last_ms"], row["last_n"]) for row in marks] == [barrier]


async def test_partitions_that_were_opened_apart_are_opened_together(
    stores: Stores, past: Past
) -> None:
    """As two restores at once, or one killed while it opened, may leave them."""
    await rebuilt(stores)
    async with aclosing(redis_client(stores.redis_url, timeout_s=2, name="test")) as client:
        mark = f"{await server_run_id(client)}:another"
        await client.hset(meta_key("p02"), RUN_ID, mark)
        with pytest.raises(NotOpenError):
            await require_open(client, PARTITIONS)

        await rebuilt(stores)

        assert await require_open(client, PARTITIONS)


async def last_of(stores: Stores, name: str) -> tuple[int, OutboxId]:
    async with connected(stores.nats_url) as client:
        message = await client.jetstream().get_last_msg(STREAM, events_subject(name))
    return message.seq or 0, OutboxId.parse(decode_batch(message.data or b"").last)


async def test_redis_with_items_that_was_opened_since_the_plan_is_left_alone(
    stores: Stores, past: Past
) -> None:
    await rebuilt_partly(stores)
    before = await items_in(stores.redis_url)

    with pytest.raises(OpenedMeanwhileError):
        await rebuilt(stores, opened_between=True)

    assert await items_in(stores.redis_url) == before


async def rebuilt_partly(stores: Stores) -> None:
    def break_off(_: int) -> None:
        raise BrokenOffError

    with pytest.raises(BrokenOffError):
        await rebuilt(stores, at_step=break_off)
