"""A Redis that comes back and finds an epoch in the stream that it does not know."""

import pytest

from pkg.api.errors import RedisSuperseded
from pkg.auction.events import encode_batch
from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.stores.redis_meta import EPOCH, SupersededError, require_open
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
        await require_open(rig.redis, PARTITIONS)
    with pytest.raises(RedisSuperseded):
        await rig.recovery().ensure_open(NOBODY)


async def test_a_redis_that_forgot_its_last_epoch_opens_in_a_newer_one(rig: Rig) -> None:
    """The stream holds its newest entry, so the unknown epoch is its own."""
    await _another_redis_went_on(rig, OURS)

    assert await rig.recovery().ensure_open(NOBODY)

    tail = await rig.stream.tail(P)
    assert tail.epoch > THEIRS
    assert int(await rig.redis.hget(meta_key(P), EPOCH) or 0) == tail.epoch
