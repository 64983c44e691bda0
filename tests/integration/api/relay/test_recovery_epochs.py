"""A Redis that comes back and finds an epoch in the stream that it does not know."""

import pytest

from pkg.api.errors import RedisRecovering, RedisSuperseded
from pkg.auction.events import encode_batch
from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.stores.opening import require_open
from pkg.stores.redis_meta import EPOCH, SupersededError
from tests.integration.api.parts import PARTITIONS
from tests.integration.api.relay.recovering import NOBODY, P, Rig

OUR_EPOCH, THEIRS = 10, 20
OURS = b'{"event_id":"ours"}'


async def _another_redis_went_on(rig: Rig, *events: bytes) -> None:
    """Our outbox ends with ``OURS``; the stream goes beyond that in an epoch unknown to us."""
    for name in partition_names(PARTITIONS):
        await rig.redis.hset(meta_key(name), EPOCH, OUR_EPOCH)
    await rig.redis.xadd(outbox_key(P), {"e": OURS}, id="100-0")
    await rig.stream.prepare()
    batch = encode_batch(P, prev=BEGINNING, last=OutboxId(200, 0), events=events, epoch=THEIRS)
    await rig.stream.publish(P, batch, expected=0)
    await rig.was_another_server()


async def test_a_restarted_redis_that_another_one_replaced_stays_closed(rig: Rig) -> None:
    await _another_redis_went_on(rig, b'{"event_id":"theirs"}')

    with pytest.raises(RedisSuperseded):
        await rig.recovery().ensure_open(NOBODY)
    with pytest.raises(SupersededError):
        await require_open(rig.redis, partition_names(PARTITIONS))
    with pytest.raises(RedisSuperseded):
        await rig.recovery().ensure_open(NOBODY)


async def test_a_redis_that_forgot_its_last_epoch_opens_in_a_newer_one(rig: Rig) -> None:
    """The stream holds its newest entry, so the unknown epoch is its own."""
    await _another_redis_went_on(rig, OURS)

    assert await rig.recovery().ensure_open(NOBODY)

    tail = await rig.stream.tail(P)
    assert tail.epoch > THEIRS
    assert tail.last == BEGINNING  # its relay publishes all again: it may hold more than OURS
    assert int(await rig.redis.hget(meta_key(P), EPOCH) or 0) == tail.epoch


async def test_an_epoch_that_another_process_took_for_this_redis_closes_nothing(rig: Rig) -> None:
    """A recovery may outlast the lease; the next process then opens the same Redis."""
    slow = rig.recovery()
    await _another_redis_went_on(rig, OURS)
    await slow.ensure_open(NOBODY)
    await rig.was_another_server()
    await rig.recovery().ensure_open(NOBODY)
    tail = await rig.stream.tail(P)
    assert not slow.epochs[P].follows(tail.epoch)

    with pytest.raises(RedisRecovering):
        await slow.supersede(tail.epoch)

    assert await rig.is_open()
    assert not await slow.ensure_open(NOBODY)
    assert slow.epochs[P].follows(tail.epoch)


async def test_an_opening_that_ends_at_the_beginning_hides_nothing_that_the_stream_holds(
    rig: Rig,
) -> None:
    """The archive has only what the stream holds as well, so no restore is needed."""
    for name in partition_names(PARTITIONS):
        await rig.redis.hset(meta_key(name), EPOCH, OUR_EPOCH)
    end = OutboxId(200, 0)
    await rig.publish(BEGINNING, end, OURS)
    tail = await rig.stream.tail(P)
    opening = encode_batch(P, prev=BEGINNING, last=BEGINNING, events=[], epoch=OUR_EPOCH)
    await rig.stream.publish(P, opening, expected=tail.sequence)
    await rig.was_another_server()

    assert await rig.recovery().ensure_open({P: end})

    assert await rig.next_id() > end
