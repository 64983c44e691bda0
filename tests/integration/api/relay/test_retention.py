"""What leaves the stream, and what does not although it is old or the stream is full."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from nats.js.api import PubAck

from pkg.api.relay.event_stream import (
    OPENINGS_BYTES,
    EventStream,
    StreamFullError,
    StreamUnavailableError,
)
from pkg.api.relay.recovery_counts import RecoveryCounts
from pkg.archival.consumer import consumer_config
from pkg.auction.bid import Accepted
from pkg.auction.events import encode_batch
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import item_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import ARCHIVE_CONSUMER, STREAM, SUPERSEDED, events_subject
from pkg.runtime.nats_link import NatsLink
from pkg.stores.stream import stream_config
from pkg.trials.waiting import until
from tests.integration.api.parts import (
    PARTITIONS,
    bid,
    event_stream,
    ledgers,
    outbox_entries,
    settings_for,
)
from tests.integration.api.relay.recovering import NOBODY, P, Rig
from tests.integration.providers import Stores

NAMES = partition_names(PARTITIONS)
MIB = 1 << 20
EPOCH = 1_790_000_000_000_000


@asynccontextmanager
async def stream_of(stores: Stores, **settings: str) -> AsyncIterator[tuple[EventStream, NatsLink]]:
    async with event_stream(settings_for(stores, **settings)) as (stream, link):
        await stream.prepare()
        yield stream, link


async def publish(link: NatsLink, partition: str, count: int = 1, *, size: int = 10) -> PubAck:
    assert count > 0
    for _ in range(count):
        stored = await link.jetstream.publish(events_subject(partition), b"x" * size)
    return stored


async def archived(stores: Stores, count: int) -> None:
    """The archive commits and acknowledges the first messages."""
    async with stores.nats_administrator() as client:
        jetstream = client.jetstream()
        await jetstream.add_consumer(STREAM, consumer_config())
        pulled = await jetstream.pull_subscribe_bind(ARCHIVE_CONSUMER, STREAM)
        for message in await pulled.fetch(count, timeout=5):
            await message.ack_sync()


async def held(link: NatsLink) -> dict[str, int]:
    info = await link.jetstream.stream_info(STREAM, subjects_filter="bid.events.*")
    return {name.rpartition(".")[2]: count for name, count in (info.state.subjects or {}).items()}


async def fill(link: NatsLink, partition: str = "p00") -> int:
    """Publishes until the stream refuses even the smallest message; returns how many it holds."""
    for size in (20_000, 1_000, 100, 1):
        with pytest.raises(Exception, match="maximum bytes exceeded"):
            await publish(link, partition, 10_000, size=size)
    return (await link.jetstream.stream_info(STREAM)).state.messages


async def limit(link: NatsLink) -> int:
    return (await link.jetstream.stream_info(STREAM)).config.max_bytes or 0


async def older_than_a_second(link: NatsLink, sequence: int) -> None:
    message = await link.jetstream.get_msg(STREAM, sequence)
    placed = message.time
    assert placed
    await until(lambda: datetime.now(UTC) - placed > timedelta(seconds=1.1), within_s=5)


async def test_archived_messages_leave_when_they_are_old_but_no_partitions_last(
    stores: Stores,
) -> None:
    async with stream_of(stores, STREAM_KEEP_S="1") as (stream, link):
        for name, count in ((NAMES[0], 5), (NAMES[1], 1), (SUPERSEDED, 2)):
            old = await publish(link, name, count)
        await older_than_a_second(link, old.seq)
        await publish(link, NAMES[0], 3)
        await archived(stores, 11)

        room = await stream.make_room(NAMES)

        assert room.purged == 7
        assert await held(link) == {NAMES[0]: 3, NAMES[1]: 1}


async def test_what_is_not_archived_stays_however_old_it_is(stores: Stores) -> None:
    async with stream_of(stores, STREAM_KEEP_S="1") as (stream, link):
        last = await publish(link, NAMES[0], 10)
        await older_than_a_second(link, last.seq)

        nobody_archives = await stream.make_room(NAMES)
        await archived(stores, 4)
        await stream.make_room(NAMES)

        assert nobody_archives.purged == 0
        assert nobody_archives.used_bytes > 0
        info = await link.jetstream.stream_info(STREAM)
        assert (info.config.max_age, info.state.first_seq, info.state.messages) == (0, 5, 6)


async def test_archived_messages_stay_for_their_time_while_there_is_room(stores: Stores) -> None:
    async with stream_of(stores, STREAM_KEEP_S="60") as (stream, link):
        await publish(link, NAMES[0], 10)
        await archived(stores, 10)

        assert (await stream.make_room(NAMES)).purged == 0


async def test_a_full_stream_makes_room_on_every_subject(stores: Stores) -> None:
    async with stream_of(stores, STREAM_MAX_BYTES=str(MIB)) as (stream, link):
        for name in (NAMES[0], SUPERSEDED, "nobody-s"):
            last = await publish(link, name, 30, size=10_000)
        await archived(stores, last.seq)

        await stream.make_room(NAMES)

        assert await held(link) == {SUPERSEDED: 15, "nobody-s": 30, NAMES[0]: 1}


@pytest.mark.parametrize("prepared", [False, True])
async def test_a_stream_of_the_release_before_no_longer_drops_what_is_old(
    stores: Stores, *, prepared: bool
) -> None:
    """One that is running may also make such a stream later."""
    async with (
        event_stream(settings_for(stores)) as (stream, link),
        stores.nats_administrator() as administrator,
    ):
        if prepared:
            await stream.prepare()
            await administrator.jetstream().delete_stream(STREAM)
        before = stream_config(settings_for(stores)).evolve(max_age=24 * 3600)
        await link.jetstream.add_stream(before)

        await stream.prepare()

        assert (await link.jetstream.stream_info(STREAM)).config.max_age == 0


async def test_a_redis_that_forgot_is_put_back_from_a_full_stream(stores: Stores, rig: Rig) -> None:
    """Not even an empty batch fits. One that a relay read before Redis forgot is still refused."""
    async with (
        ledgers(settings_for(stores)) as made,
        stream_of(stores, STREAM_MAX_BYTES=str(MIB)) as (stream, link),
    ):
        rig.stream = stream
        for cents in (100, 200, 300):
            assert isinstance(await made.lua.place(bid(cents)), Accepted)
        last = await rig.publish_outbox()
        stale = await rig.stream.tail(P)
        messages = await fill(link, partition=SUPERSEDED)
        await rig.redis.delete(item_key(P, "vase"), outbox_key(P))
        await rig.was_another_server()

        assert await rig.recovery().ensure_open(NOBODY)

        assert await rig.redis.hget(item_key(P, "vase"), "seq") == b"3"
        assert rig.counts == RecoveryCounts(recoveries=1, put_back=3)
        state = (await link.jetstream.stream_info(STREAM)).state
        assert state.messages == messages + PARTITIONS
        assert await limit(link) <= MIB + OPENINGS_BYTES
        late = encode_batch(P, prev=last, last=OutboxId(last.ms + 1, 0), events=[b"{}"])
        with pytest.raises(StreamUnavailableError, match="wrong last sequence"):
            await rig.stream.publish(P, late, expected=stale.sequence)


async def test_a_widened_stream_is_set_back_without_losing_a_message(stores: Stores) -> None:
    async with stream_of(stores, STREAM_MAX_BYTES=str(MIB)) as (stream, link):
        await fill(link)
        await stream.widen()
        messages = await fill(link)

    async with stream_of(stores, STREAM_MAX_BYTES=str(MIB)) as (stream, link):
        info = await link.jetstream.stream_info(STREAM)
        assert (info.config.max_bytes, info.state.messages) == (MIB, messages)
        assert info.state.bytes > MIB
        nothing = encode_batch("p00", prev=BEGINNING, last=BEGINNING, events=[])
        with pytest.raises(StreamFullError):
            await stream.publish("p00", nothing, expected=messages)


async def test_a_stream_is_widened_by_a_64th_at_most(stores: Stores) -> None:
    async with stream_of(stores, STREAM_MAX_BYTES=str(MIB)) as (stream, link):

        async def refused() -> bool:
            await fill(link)
            try:
                await stream.widen()
            except StreamFullError:
                return True
            return False

        await until(refused, within_s=10)

        assert MIB < await limit(link) <= MIB + MIB // 64


@pytest.mark.parametrize(("at_once", "wanted"), [(1, 485), (5, 320), (50, 282)])
async def test_an_event_takes_as_many_bytes_of_the_stream_as_operations_md_says(
    stores: Stores, rig: Rig, *, at_once: int, wanted: int
) -> None:
    async with ledgers(settings_for(stores)) as made, stream_of(stores) as (stream, link):
        for cents in range(1, 1001):
            await made.lua.place(bid(cents * 137, item="auction-2026-lot-17", user="bidder-4711"))
        partition = partition_of("auction-2026-lot-17", PARTITIONS)
        memory = await rig.redis.memory_usage(outbox_key(partition), samples=0)
        entries = await outbox_entries(rig.redis, partition)
        sequence, prev = 0, BEGINNING
        for first in range(0, len(entries), at_once):
            rows = entries[first : first + at_once]
            last = OutboxId.parse(rows[-1][0])
            events = [event for _, event in rows]
            batch = encode_batch(partition, prev=prev, last=last, events=events, epoch=EPOCH)
            sequence = await stream.publish(partition, batch, expected=sequence)
            prev = last

        stored = (await link.jetstream.stream_info(STREAM)).state.bytes

    assert stored / 1000 == pytest.approx(wanted, rel=0.03)
    assert (memory or 0) / 1000 == pytest.approx(330, rel=0.05)
