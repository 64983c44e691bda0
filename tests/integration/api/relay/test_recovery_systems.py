"""An empty Redis opens only if it is new, and only on the stream of its own system."""

import asyncio

import pytest

from pkg.api.errors import OtherSystem, RedisRecovering
from pkg.api.relay.event_stream import StreamUnavailableError
from pkg.api.relay.recovery import Recovery
from pkg.api.relay.recovery_counts import RecoveryCounts
from pkg.auction.bid import Accepted
from pkg.auction.events import ArchiveState
from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM
from pkg.stores.opening import require_open
from pkg.stores.redis_meta import SYSTEM, NotOpenError, OtherSystemError
from pkg.stores.system import adopt_system, as_text, name_stream, system_of
from pkg.trials.waiting import until
from tests.integration.api.parts import (
    PARTITIONS,
    bid,
    event_stream,
    ledgers,
    opened,
    settings_for,
)
from tests.integration.api.relay.recovering import EMPTY, NOBODY, P, Rig, refused
from tests.integration.providers import Servers, Stores

NAMES = partition_names(PARTITIONS)
OURS, THEIRS = "ours", "theirs"


async def system_of_stream(rig: Rig) -> str | None:
    return system_of((await rig.nats.jetstream.stream_info(STREAM)).config)


async def systems_of_redis(rig: Rig) -> set[str | None]:
    return {as_text(await rig.redis.hget(meta_key(name), SYSTEM)) for name in NAMES}


async def test_a_new_redis_beside_a_new_stream_and_archive_is_opened_once_as_a_new_system(
    rig: Rig,
) -> None:
    recovery = rig.recovery()

    assert await recovery.ensure_open(NOBODY, archive=EMPTY)

    assert await rig.is_open()
    assert not await recovery.ensure_open(NOBODY, archive=EMPTY)
    assert rig.counts == RecoveryCounts(recoveries=1)
    assert {await system_of_stream(rig)} == await systems_of_redis(rig) != {None}


async def test_two_gateways_that_start_at_once_agree_on_the_system(
    stores: Stores, rig: Rig
) -> None:
    async with event_stream(settings_for(stores)) as (stream, nats):
        other = Rig(rig.redis, stream, nats)

        await asyncio.gather(
            *(each.recovery().ensure_open(NOBODY, archive=EMPTY) for each in (rig, other))
        )

    assert {await system_of_stream(rig)} == await systems_of_redis(rig) != {None}


async def test_an_empty_redis_waits_for_the_word_of_the_archive_however_long(rig: Rig) -> None:
    recovery = rig.recovery(hearing_s=0.0, wait_s=0.0)

    for _ in range(2):
        with pytest.raises(RedisRecovering):
            await recovery.ensure_open(NOBODY)

    assert not await rig.is_open()
    assert rig.counts == RecoveryCounts(waiting_for_archive=True)
    assert await recovery.ensure_open(NOBODY, archive=EMPTY)


async def test_an_empty_redis_waits_for_nats_however_long(servers: Servers, rig: Rig) -> None:
    """And its process lets others try, who may reach NATS."""
    servers.stop("nats")
    await until(lambda: not rig.nats.connected, within_s=5)
    recovery = rig.recovery(wait_s=0.0)

    for _ in range(2):
        with pytest.raises(StreamUnavailableError):
            await recovery.ensure_open(NOBODY, archive=EMPTY)

    assert not await rig.is_open()


@pytest.mark.parametrize("purged", [False, True])
async def test_an_empty_redis_beside_a_stream_that_ever_held_a_bid_requires_restore(
    rig: Rig, *, purged: bool
) -> None:
    await rig.publish(BEGINNING, OutboxId(100, 0))
    if purged:
        await rig.nats.jetstream.purge_stream(STREAM)

    await refused(rig, rig.recovery(), NOBODY, EMPTY)


async def test_an_empty_redis_beside_a_filled_archive_requires_restore(rig: Rig) -> None:
    await refused(rig, rig.recovery(), {P: OutboxId(1, 0)}, EMPTY)
    await refused(rig, rig.recovery(), {P: BEGINNING}, ArchiveState(empty=False))


async def test_an_empty_redis_stays_closed_if_the_archive_has_bids_and_nats_is_away(
    servers: Servers, rig: Rig
) -> None:
    servers.stop("nats")
    await until(lambda: not rig.nats.connected, within_s=5)

    await refused(rig, rig.recovery(wait_s=0.0), {P: OutboxId(1, 0)})


async def test_a_redis_that_is_emptied_before_the_first_bid_opens_again_as_the_same_system(
    rig: Rig,
) -> None:
    await rig.recovery().ensure_open(NOBODY, archive=EMPTY)
    system = await system_of_stream(rig)
    await rig.was_another_server()
    await rig.recovery().ensure_open(NOBODY, archive=EMPTY)  # leaves openings in the stream
    assert (await rig.stream.tail(P)).epoch

    await rig.redis.flushall()
    known = ArchiveState(empty=True, system=system)
    assert await rig.recovery().ensure_open({P: BEGINNING}, archive=known)

    assert await systems_of_redis(rig) == {system}
    assert await system_of_stream(rig) == system


async def test_an_empty_redis_whose_system_lost_its_stream_requires_restore(rig: Rig) -> None:
    """The stream may have held bids that were not archived yet."""
    await refused(rig, rig.recovery(), NOBODY, ArchiveState(empty=True, system=OURS))


async def test_a_redis_on_the_stream_of_another_system_refuses_bids_until_it_is_back(
    stores: Stores, rig: Rig
) -> None:
    await rig.stream.prepare()
    await name_stream(rig.nats.jetstream, THEIRS)
    await adopt_system(rig.redis, NAMES, OURS)
    await rig.was_another_server()
    recovery = rig.recovery(wait_s=0.0)
    async with ledgers(settings_for(stores), wait=False) as made:
        for _ in range(2):
            with pytest.raises(OtherSystem):
                await recovery.ensure_open(NOBODY, archive=EMPTY)
        with pytest.raises(OtherSystemError):
            await require_open(rig.redis, partition_names(PARTITIONS))

        async def other_system() -> bool:
            try:
                await made.lua.place(bid(100))
            except OtherSystem:
                return True
            return False

        await until(other_system, within_s=10, forgiving=(Exception,))
        assert rig.counts == RecoveryCounts(other_system=True)
        assert (await rig.stream.tail(P)).sequence == 0

        async with stores.nats_administrator() as administrator:
            await administrator.jetstream().delete_stream(STREAM)
        assert await rig.recovery().ensure_open(NOBODY, archive=EMPTY)

        assert await until(
            lambda: made.lua.place(bid(100)), within_s=10, forgiving=(Exception,)
        ) == Accepted(1)
    assert await system_of_stream(rig) == OURS


async def test_a_redis_that_was_on_the_stream_of_another_system_does_not_open_without_nats(
    servers: Servers, rig: Rig
) -> None:
    await rig.stream.prepare()
    await name_stream(rig.nats.jetstream, THEIRS)
    await adopt_system(rig.redis, NAMES, OURS)
    await rig.was_another_server()
    recovery = rig.recovery(wait_s=0.0)
    with pytest.raises(OtherSystem):
        await recovery.ensure_open(NOBODY)
    servers.stop("nats")
    await until(lambda: not rig.nats.connected, within_s=5)

    with pytest.raises(OtherSystem):
        await recovery.ensure_open(NOBODY)


async def test_a_redis_of_the_release_before_takes_its_system_from_the_stream(
    stores: Stores, rig: Rig
) -> None:
    await rig.stream.prepare()
    await name_stream(rig.nats.jetstream, OURS)
    await opened(stores.redis_url)
    await rig.was_another_server()

    assert await rig.recovery().ensure_open(NOBODY)

    assert await systems_of_redis(rig) == {OURS}


async def test_stores_of_the_release_before_take_their_system_from_the_archive(rig: Rig) -> None:
    await rig.was_another_server()

    assert await rig.recovery().ensure_open(NOBODY, archive=ArchiveState(empty=False, system=OURS))

    assert await systems_of_redis(rig) == {OURS}
    assert await system_of_stream(rig) == OURS


async def test_a_stream_made_anew_gets_the_system_of_redis(rig: Rig) -> None:
    await adopt_system(rig.redis, NAMES, OURS)
    await rig.was_another_server()

    assert await rig.recovery().ensure_open(NOBODY)

    assert await system_of_stream(rig) == OURS


async def test_a_server_that_holds_some_partitions_is_opened_alone(rig: Rig) -> None:
    held, others = NAMES[:2], NAMES[2:]
    recovery = Recovery(
        *(rig.redis, rig.nats, rig.stream),
        names=held,
        partitions=PARTITIONS,
        wait_s=60.0,
        hearing_s=0.0,
        counts=rig.counts,
    )

    assert await recovery.ensure_open(NOBODY, archive=EMPTY)

    assert await require_open(rig.redis, held)
    assert not await rig.redis.exists(*(meta_key(name) for name in others))
    with pytest.raises(NotOpenError):
        await require_open(rig.redis, NAMES)
