"""Deliveries on a real stream: they come at once, are bounded, and only valid acks are sent."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from nats.js.errors import NotFoundError

from pkg.archival.consumer import ACK_WAIT_S, consumer_config, ensure_consumer
from pkg.archival.deliveries import PULL_BYTES, Deliveries, Delivery
from pkg.auction.subjects import ARCHIVE_CONSUMER, STREAM
from pkg.devkit.names import ARCHIVAL
from pkg.runtime.nats_link import NatsLink, nats_link
from pkg.runtime.settings.sections import NatsSettings
from pkg.stores.stream import ensure_stream, stream_config
from pkg.trials.waiting import until
from tests.integration.archival.auction import Chain, Item, publish
from tests.integration.archival.looking import consumer
from tests.integration.providers import Servers, Stores


@asynccontextmanager
async def delivering(
    stores: Stores, *, batch: int = 10
) -> AsyncIterator[tuple[Deliveries, NatsLink]]:
    settings = NatsSettings(**stores.nats_of(ARCHIVAL))
    async with nats_link(settings, name="test") as link:

        async def ensure() -> datetime:
            await ensure_stream(link.jetstream, stream_config(settings))
            return await ensure_consumer(link.jetstream, consumer_config())

        deliveries = Deliveries(link, ensure, batch=batch)
        yield deliveries, link
        await deliveries.close()


async def take(deliveries: Deliveries, count: int) -> list[Delivery]:
    taken = []
    for _ in range(count):
        delivery = await deliveries.next(within_s=10)
        assert delivery is not None
        taken.append(delivery)
    return taken


async def test_message_is_delivered_at_once_though_the_pull_asks_for_more(stores: Stores) -> None:
    async with delivering(stores, batch=100) as (deliveries, _):
        await publish(stores.nats_url, Chain().batch(Item("lamp").bids(1)))

        first = await asyncio.wait_for(deliveries.next(within_s=10), timeout=5)

    assert first is not None
    assert first.message.subject == "bid.events.p00"


async def test_no_more_than_one_pull_is_held_while_nothing_is_taken(stores: Stores) -> None:
    """As happens while PostgreSQL is away."""
    chain, item = Chain(), Item("lamp")
    await publish(stores.nats_url, *(chain.batch(item.bids(1)) for _ in range(100)))
    async with delivering(stores, batch=10) as (deliveries, _):
        await take(deliveries, 1)

        await until(lambda: _ack_pending(stores.nats_url, 10), within_s=5)
        rest = await take(deliveries, 9)

        assert len(rest) == 9
        assert deliveries.arrived() is None


async def test_held_messages_are_bounded_in_bytes_and_all_are_delivered(stores: Stores) -> None:
    large = [("bid.events.p00", bytes(900_000)) for _ in range(20)]
    await publish(stores.nats_url, *large)
    async with delivering(stores, batch=20) as (deliveries, _):
        await take(deliveries, 1)
        pending = (await consumer(stores.nats_url)).num_ack_pending or 0

        await take(deliveries, 19)

        assert pending * 900_000 <= PULL_BYTES
        assert deliveries.probe() is None


async def _ack_pending(nats_url: str, count: int) -> bool:
    return (await consumer(nats_url)).num_ack_pending == count


async def test_acknowledgement_for_a_deleted_consumer_is_not_sent(
    stores: Stores,
) -> None:
    """Its sequence would acknowledge an unarchived message of the new consumer."""
    chain, item = Chain(), Item("lamp")
    await publish(stores.nats_url, *(chain.batch(item.bids(1)) for _ in range(3)))
    async with (
        delivering(stores) as (deliveries, link),
        stores.nats_administrator() as administrator,
    ):
        old = await take(deliveries, 3)
        await administrator.jetstream().delete_consumer(STREAM, ARCHIVE_CONSUMER)
        new = await take(deliveries, 3)

        await deliveries.acknowledge(old)
        await link.client.flush()

        assert deliveries.lost_acknowledgements == 3
        assert await _ack_pending(stores.nats_url, 3)
        await deliveries.acknowledge(new)
        await until(lambda: _ack_pending(stores.nats_url, 0), within_s=5)


async def test_messages_that_were_not_taken_are_given_back_on_close(stores: Stores) -> None:
    chain, item = Chain(), Item("lamp")
    await publish(stores.nats_url, *(chain.batch(item.bids(1)) for _ in range(5)))
    async with delivering(stores) as (deliveries, _):
        await deliveries.acknowledge(await take(deliveries, 1))
        await until(lambda: _ack_pending(stores.nats_url, 4), within_s=5)

    async with delivering(stores) as (deliveries, _):
        again = await take(deliveries, 4)

        await deliveries.acknowledge(again)
        await until(lambda: _ack_pending(stores.nats_url, 0), within_s=5)


async def test_held_messages_are_not_redelivered_while_they_are_kept_in_progress(
    stores: Stores,
) -> None:
    """Those taken, as for a transaction, and those that have only arrived."""
    chain, item = Chain(), Item("lamp")
    await publish(stores.nats_url, *(chain.batch(item.bids(1)) for _ in range(3)))
    async with delivering(stores) as (deliveries, _), asyncio.TaskGroup() as group:
        keeping = group.create_task(deliveries.keep_in_progress())
        held = await take(deliveries, 2)
        await until(lambda: _ack_pending(stores.nats_url, 3), within_s=5)

        await until(lambda: deliveries.in_progress >= 3 * 4, within_s=3 * ACK_WAIT_S)

        held += await take(deliveries, 1)
        assert await deliveries.next(within_s=1) is None
        await deliveries.acknowledge(held)
        await until(lambda: _ack_pending(stores.nats_url, 0), within_s=5)
        keeping.cancel()


async def test_messages_of_a_worker_that_vanished_are_redelivered_after_the_ack_wait(
    stores: Stores,
) -> None:
    chain, item = Chain(), Item("lamp")
    await publish(stores.nats_url, *(chain.batch(item.bids(1)) for _ in range(3)))
    async with delivering(stores) as (vanished, _):
        await take(vanished, 3)
        began = time.monotonic()
        async with delivering(stores) as (deliveries, _):
            again = await take(deliveries, 3)

            took_s = time.monotonic() - began
            await deliveries.acknowledge(again)

    assert took_s < ACK_WAIT_S + 3
    assert ACK_WAIT_S <= 6


async def test_end_waiting_ends_a_pending_next(stores: Stores) -> None:
    async with delivering(stores) as (deliveries, _):
        waiting = asyncio.create_task(deliveries.next(within_s=30))
        await until(lambda: deliveries.probe() is None, within_s=5)

        deliveries.end_waiting()

        assert await asyncio.wait_for(waiting, timeout=5) is None


async def test_after_a_reconnect_only_newer_messages_are_acknowledged(
    servers: Servers, stores: Stores
) -> None:
    """NATS may have lost messages: an old sequence could now belong to another message."""
    chain, item = Chain(), Item("lamp")
    await publish(stores.nats_url, chain.batch(item.bids(1)))
    async with delivering(stores) as (deliveries, link):
        held = await take(deliveries, 1)
        servers.stop("nats")
        await until(lambda: not link.connected, within_s=5)
        servers.start("nats")
        await publish(stores.nats_url, chain.batch(item.bids(1)))

        later = await take(deliveries, 1)

        await deliveries.acknowledge([*held, *later])
        assert deliveries.lost_acknowledgements == 1
        await until(
            lambda: _ack_pending(stores.nats_url, 1), within_s=5, forgiving=(NotFoundError,)
        )
