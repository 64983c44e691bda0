"""Redis is opened once its losses are put back; bids stay refused if nobody can."""

import asyncio
from collections.abc import Awaitable

import pytest

from pkg.api.errors import RedisRecovering, RedisUnavailable
from pkg.api.relay.event_stream import StreamUnavailableError
from pkg.api.relay.recovery_counts import RecoveryCounts
from pkg.auction.bid import Accepted, Outcome, Strategy
from pkg.auction.events import encode_batch
from pkg.auction.keys import item_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM, events_subject
from pkg.trials.waiting import until
from tests.integration.api.parts import (
    bid,
    decoded_outbox,
    ledgers,
    opened,
    outbox_entries,
    relay_outbox,
    settings_for,
    up,
)
from tests.integration.api.relay.recovering import NOBODY, P, Rig, refused
from tests.integration.providers import Servers, Stores


async def test_a_lost_tail_is_put_back_and_the_next_bid_continues_after_it(
    stores: Stores, rig: Rig
) -> None:
    keys = [item_key(P, "vase"), outbox_key(P)]
    async with ledgers(settings_for(stores)) as made:
        for cents in (100, 200):
            await made.lua.place(bid(cents, user="ann"))
        on_disk = [await rig.redis.dump(key) for key in keys]
        for cents in (300, 400, 500):
            await made.lua.place(bid(cents, user="bob"))
        end = await rig.publish_outbox()
        before = await rig.redis.hgetall(keys[0])
        for key, dumped in zip(keys, on_disk, strict=True):
            assert dumped is not None
            await rig.redis.restore(key, 0, dumped, replace=True)
        await rig.was_another_server()
        assert await rig.redis.hget(keys[0], "seq") == b"2"

        assert await rig.recovery().ensure_open(NOBODY)

        assert await rig.redis.hgetall(keys[0]) == before
        assert rig.counts == RecoveryCounts(recoveries=1, put_back=3)
        outcome = await until(
            lambda: made.lua.place(bid(600, user="cleo")),
            within_s=10,
            forgiving=(RedisRecovering, RedisUnavailable),
        )
        assert outcome == Accepted(6)
        entries = await outbox_entries(rig.redis, P)
        assert OutboxId.parse(entries[-1][0]) > end
        assert [each.seq for each in (await decoded_outbox(rig.redis))["vase"]] == [1, 2, 6]


async def test_bids_that_only_jetstream_still_holds_count_until_they_are_archived(
    stores: Stores, rig: Rig
) -> None:
    settings = settings_for(stores)
    async with ledgers(settings) as made, relay_outbox(settings) as outbox:
        for cents in (100, 200, 300):
            await made.lua.place(bid(cents))
        last = await rig.publish_outbox()
        await rig.redis.delete(item_key(P, "vase"), outbox_key(P))
        await rig.was_another_server()

        await rig.recovery().ensure_open(NOBODY)

        waiting = await outbox.state(P)
        await outbox.trim_to(P, last)
        archived = await outbox.state(P)
    assert (waiting.depth, waiting.retired, waiting.oldest) == (0, 3, last)
    assert (archived.retired, archived.oldest) == (0, None)


async def test_new_outbox_ids_are_above_those_in_the_stream_even_if_the_clock_was_ahead(
    rig: Rig,
) -> None:
    """Otherwise the relay would take new bids for events that the stream already holds."""
    ahead = OutboxId(9_000_000_000_000, 7)
    await rig.publish(BEGINNING, ahead)
    await rig.was_another_server()

    await rig.recovery().ensure_open(NOBODY)

    _, barrier, *_ = await rig.stream.tail(P)
    assert await rig.next_id() > barrier >= ahead


@pytest.mark.parametrize(
    "message",
    [
        b'{"v":2,"partition":"%b","prev":"0-0","last":"100-0","events":[]}' % P.encode(),
        b'{"v":2,"whatever":[]}',
        encode_batch(P, prev=BEGINNING, last=OutboxId(100, 0), events=[b'{"kind":"shiny"}']),
    ],
    ids=["a version", "a version without an end", "a kind"],
)
async def test_redis_stays_closed_while_the_stream_holds_what_only_a_newer_gateway_can_read(
    rig: Rig, message: bytes
) -> None:
    """It may hold a higher price. NATS is there, so waiting longer changes nothing."""
    await rig.stream.prepare()
    await rig.nats.jetstream.publish(events_subject(P), message)
    await rig.was_another_server()
    recovery = rig.recovery(wait_s=0.0)

    for _ in range(2):
        with pytest.raises(RedisRecovering, match="only a newer api-gateway can recover"):
            await recovery.ensure_open(NOBODY)

    assert not await rig.is_open()
    assert rig.counts == RecoveryCounts()


async def test_an_archive_ahead_of_redis_and_stream_requires_restore(rig: Rig) -> None:
    await rig.publish(BEGINNING, OutboxId(100, 0))
    await rig.was_another_server()

    await refused(rig, rig.recovery(), {P: OutboxId(9_000_000_000_000, 0)})


async def test_a_stream_that_starts_after_the_outbox_ends_requires_restore(rig: Rig) -> None:
    """The events in between were archived and purged, or are lost."""
    await rig.redis.xadd(outbox_key(P), {"e": ""}, id="50-0")
    await rig.publish(OutboxId(100, 0), OutboxId(200, 0))
    await rig.was_another_server()

    await refused(rig, rig.recovery(), NOBODY)


async def test_redis_is_opened_without_nats_once_the_wait_is_over(
    servers: Servers, rig: Rig
) -> None:
    await rig.was_another_server()
    servers.stop("nats")
    await until(lambda: not rig.nats.connected, within_s=5)
    recovery = rig.recovery(wait_s=0.5)

    with pytest.raises(RedisRecovering):
        await recovery.ensure_open(NOBODY)

    assert not await rig.is_open()
    assert await until(
        lambda: recovery.ensure_open(NOBODY), within_s=15, forgiving=(RedisRecovering,)
    )
    assert await rig.is_open()
    assert rig.counts == RecoveryCounts(recoveries=1, without_stream=1)


async def test_a_publish_with_a_fence_from_before_the_recovery_is_refused(rig: Rig) -> None:
    """A paused relay may hold entries that Redis lost: they must not be published late."""
    await rig.publish(BEGINNING, OutboxId(100, 0))
    await rig.was_another_server()
    fence, last, *_ = await rig.stream.tail(P)

    await rig.recovery().ensure_open(NOBODY)

    stale = encode_batch(P, prev=last, last=OutboxId(150, 0), events=[])
    with pytest.raises(StreamUnavailableError):
        await rig.stream.publish(P, stale, expected=fence)


async def test_an_idle_connection_is_replaced_after_redis_was_emptied_and_reopened(
    stores: Stores, rig: Rig
) -> None:
    async with ledgers(settings_for(stores)) as made:
        for strategy in Strategy:
            await made.of(strategy).place(bid(50_000, item=f"item-{strategy}"))
        connects = made.bids.connects

        await rig.redis.flushall()
        await opened(stores.redis_url)

        for strategy in Strategy:
            with pytest.raises((RedisRecovering, RedisUnavailable)):
                await made.of(strategy).place(bid(60_000, item=f"item-{strategy}"))
        assert await decoded_outbox(rig.redis) == {}
        await until(lambda: made.bids.connects > connects, within_s=10)
        await up(made)
        for strategy in Strategy:
            assert await made.of(strategy).place(bid(100, item=f"item-{strategy}")) == Accepted(1)


async def test_a_connection_that_only_refuses_from_its_cache_notices_the_reopening(
    stores: Stores, rig: Rig
) -> None:
    """Replies cannot tell it: bids below a cached price never reach Redis."""
    async with ledgers(settings_for(stores)) as made:
        await made.lua.place(bid(50_000))

        await rig.redis.flushall()
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


async def test_the_barrier_does_not_claim_the_id_of_an_unrelayed_entry(
    stores: Stores, rig: Rig
) -> None:
    """Ids of one millisecond are consecutive; an id that the stream claims is never relayed."""
    async with ledgers(settings_for(stores)) as made:
        await asyncio.gather(*(made.lua.place(bid(100 + number)) for number in range(20)))
    entries = await outbox_entries(rig.redis, P)
    first = OutboxId.parse(entries[0][0])
    await rig.publish(BEGINNING, first, entries[0][1])
    await rig.was_another_server()

    await rig.recovery().ensure_open(NOBODY)

    _, end, *_ = await rig.stream.tail(P)
    assert end == first


async def test_one_opening_is_published_while_redis_is_closed(rig: Rig) -> None:
    await rig.publish(BEGINNING, OutboxId(100, 0))
    await rig.was_another_server()
    recovery = rig.recovery()

    for _ in range(5):
        await refused(rig, recovery, {P: OutboxId(9_000_000_000_000, 0)})

    found = await rig.nats.jetstream.stream_info(STREAM, subjects_filter=events_subject(P))
    assert (found.state.subjects or {}) == {events_subject(P): 2}


async def test_a_resent_stream_does_not_hide_a_gap_that_only_the_archive_fills(
    rig: Rig,
) -> None:
    """Entries 151 to 200 were published from scratch; 51 to 150 are in the archive alone."""
    await rig.redis.xadd(outbox_key(P), {"e": ""}, id="50-0")
    await rig.publish(BEGINNING, OutboxId(200, 0))
    await rig.was_another_server()

    await refused(rig, rig.recovery(), {P: OutboxId(150, 0)})


async def test_a_redis_opened_without_the_stream_reuses_no_id_seen_before(
    servers: Servers, rig: Rig
) -> None:
    """An entry below the stream's end would never be relayed, yet be removed as archived."""
    ahead = OutboxId(9_000_000_000_000, 7)
    await rig.was_another_server()
    servers.stop("nats")
    await until(lambda: not rig.nats.connected, within_s=5)
    recovery = rig.recovery(wait_s=0.0)

    assert await recovery.ensure_open(NOBODY, met={P: ahead})

    assert await rig.next_id() > ahead
