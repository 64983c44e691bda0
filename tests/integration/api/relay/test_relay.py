"""The relay on real Redis and NATS: order, chain, fence, outages, lease, trimming."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from nats.js.errors import NotFoundError
from redis.asyncio import Redis

from pkg.api.app import Ledgers
from pkg.api.relay.event_stream import (
    EventStream,
    NewerStreamError,
    Room,
    StreamUnavailableError,
)
from pkg.api.relay.lease import Lease
from pkg.api.relay.metrics import RelayMetrics
from pkg.api.relay.outbox import Outbox
from pkg.api.relay.recovery_counts import RecoveryCounts
from pkg.api.relay.relay import Relay
from pkg.auction.bid import Accepted, Strategy
from pkg.auction.events import decode_batch
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import RELAY_LEASE
from pkg.auction.subjects import STREAM, events_subject
from pkg.runtime.background import ended
from pkg.runtime.nats_link import NatsLink
from pkg.stores.barrier import Tail
from pkg.trials.waiting import until
from tests.integration.api.parts import (
    PARTITIONS,
    bid,
    event_stream,
    ledgers,
    outbox_entries,
    outbox_events,
    relay_outbox,
    settings_for,
    stream_events,
)
from tests.integration.providers import Servers, Stores
from tests.unit.api.relay.stand_ins import GivenLease, OpenRedis


@dataclass
class Interrupted:
    """A stream whose publishes can be held back, or lose their acknowledgements."""

    stream: EventStream
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    at_gate: int = 0
    acknowledgements_lost: int = 0
    failures: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def prepare(self) -> None:
        await self.stream.prepare()

    async def tail(self, partition: str) -> Tail:
        return await self.stream.tail(partition)

    async def hand_over(self, batch: bytes) -> None:
        await self.stream.hand_over(batch)

    async def all_taken(self) -> bool:
        return await self.stream.all_taken()

    async def make_room(self, partitions: Sequence[str]) -> Room:
        return await self.stream.make_room(partitions)

    async def widen(self) -> None:
        await self.stream.widen()

    async def publish(self, partition: str, batch: bytes, *, expected: int) -> int:
        if not self.gate.is_set():
            self.at_gate += 1
            await self.gate.wait()
        try:
            sequence = await self.stream.publish(partition, batch, expected=expected)
        except StreamUnavailableError:
            self.failures += 1
            raise
        if self.acknowledgements_lost:
            self.acknowledgements_lost -= 1
            raise StreamUnavailableError("the acknowledgement was lost")
        return sequence


@dataclass
class Rig:
    ledgers: Ledgers
    outbox: Outbox
    stream: EventStream
    nats: NatsLink
    redis: Redis

    async def place(self, count: int, *, start: int = 1, items: int = 7) -> None:
        outcomes = await asyncio.gather(
            *(
                self.ledgers.lua.place(bid(start + number, item=f"item-{number % items}"))
                for number in range(count)
            )
        )
        assert all(isinstance(each, Accepted) for each in outcomes)

    @asynccontextmanager
    async def relaying(
        self, stream: EventStream | None = None, *, lease: Lease | None = None
    ) -> AsyncIterator[Relay]:
        metrics = RelayMetrics(holds_lease=lambda: True, recovery=RecoveryCounts())
        relay = Relay(
            self.outbox,
            stream or self.stream,
            lease or GivenLease(),
            linger_max_ms=10,
            outbox_max_entries=100_000,
            resend_after_s=600,
            recovery=OpenRedis(),
            metrics=metrics,
        )
        self.nats.on_connect(relay.resync)
        task = asyncio.create_task(relay.run())
        try:
            yield relay
        finally:
            await ended(task)

    async def all_relayed(self) -> None:
        """Waits until JetStream holds the outboxes' events: each once, in order, without a gap."""
        wanted = await outbox_events(self.redis)

        async def equal() -> bool:
            try:
                held = await stream_events(self.nats)
            except Exception as error:  # noqa: BLE001 - NATS may be starting
                return not isinstance(error, AssertionError) and False
            for name, events in held.items():
                assert events == wanted[name][: len(events)], f"{name}: out of order or twice"
            return held == wanted

        await until(equal, within_s=15)


@pytest.fixture
async def rig(stores: Stores, redis: Redis) -> AsyncIterator[Rig]:
    settings = settings_for(stores)
    async with (
        ledgers(settings) as made,
        relay_outbox(settings) as outbox,
        event_stream(settings) as (stream, nats),
    ):
        yield Rig(made, outbox, stream, nats, redis)


async def test_every_event_reaches_the_stream_in_order_and_in_chained_batches(
    rig: Rig,
) -> None:
    await rig.place(1500)

    async with rig.relaying():
        await rig.all_relayed()
        await rig.place(300, start=5000)
        await rig.all_relayed()


async def test_both_strategies_events_are_relayed(rig: Rig) -> None:
    async with rig.relaying():
        for number in range(1, 30):
            strategy = Strategy.LUA if number % 2 else Strategy.OPTIMISTIC
            await rig.ledgers.of(strategy).place(bid(number))
        await rig.all_relayed()


async def test_a_delayed_publish_of_an_old_relay_is_refused(rig: Rig) -> None:
    """Without an expected sequence the batch would be stored twice."""
    old = Interrupted(rig.stream)
    await rig.place(20)
    async with rig.relaying(old):
        await rig.all_relayed()
        old.gate.clear()
        await rig.place(20, start=1000)
        await until(lambda: old.at_gate >= 1, within_s=10)

        async with rig.relaying():
            await rig.all_relayed()
            old.gate.set()
            await until(lambda: old.failures, within_s=10)

        await rig.all_relayed()


async def test_two_relays_without_a_lease_publish_nothing_twice(rig: Rig) -> None:
    async with rig.relaying(), rig.relaying():
        for number in range(12):
            await rig.place(60, start=1 + number * 100)
        await rig.all_relayed()


async def test_a_publish_whose_acknowledgement_was_lost_is_not_stored_twice(rig: Rig) -> None:
    lossy = Interrupted(rig.stream, acknowledgements_lost=3)
    async with rig.relaying(lossy):
        for number in range(5):
            await rig.place(50, start=1 + number * 100)
            await asyncio.sleep(0)
        await rig.all_relayed()

    assert lossy.acknowledgements_lost == 0


async def test_a_restart_of_nats_leaves_no_gap(servers: Servers, rig: Rig) -> None:
    async with rig.relaying():
        await rig.place(100)
        await rig.all_relayed()
        await asyncio.to_thread(servers.stop, "nats")
        await rig.place(100, start=1000)

        servers.start("nats")  # not in a thread: the server would end with it

        await rig.all_relayed()


async def test_a_deleted_stream_is_recreated_and_refilled_from_the_outbox(
    rig: Rig, stores: Stores
) -> None:
    async with rig.relaying(), stores.nats_administrator() as administrator:
        await rig.place(100)
        await rig.all_relayed()
        await administrator.jetstream().delete_stream(STREAM)
        await rig.place(5, start=1000)

        await rig.all_relayed()


async def test_a_foreign_last_message_does_not_stop_the_relay(rig: Rig) -> None:
    await rig.place(30, items=1)
    partition = partition_of("item-0", PARTITIONS)
    async with rig.relaying():
        await rig.all_relayed()
        await rig.nats.jetstream.publish(events_subject(partition), b"no batch")
        await rig.place(1, start=1000, items=1)

        async def last_is_whole() -> bool:
            _, last, *_ = await rig.stream.tail(partition)
            entries = await outbox_entries(rig.redis, partition)
            return str(last).encode() == entries[-1][0]

        await until(last_is_whole, within_s=10)


async def test_a_relay_goes_on_after_a_message_of_a_newer_release(rig: Rig) -> None:
    """From the oldest entry it would publish again what only the newer release can archive."""
    await rig.place(3, items=1)
    partition = partition_of("item-0", PARTITIONS)
    entries = await outbox_entries(rig.redis, partition)
    newer = b'{"v":2,"last":"%b","whatever":[]}' % entries[1][0]
    await rig.stream.prepare()
    await rig.nats.jetstream.publish(events_subject(partition), newer)

    async with rig.relaying():
        stored = await until(
            lambda: rig.nats.jetstream.get_msg(STREAM, 2), within_s=10, forgiving=(NotFoundError,)
        )

    batch = decode_batch(stored.data or b"")
    assert (batch.prev.encode(), batch.last.encode()) == (entries[1][0], entries[2][0])
    assert [bytes(event) for event in batch.events] == [entries[2][1]]


async def test_a_newer_last_message_without_an_end_stops_the_relay_with_a_sentence(
    rig: Rig,
) -> None:
    await rig.stream.prepare()
    await rig.nats.jetstream.publish(events_subject("p00"), b'{"v":2,"whatever":[]}')

    with pytest.raises(NewerStreamError, match="events of version 2: roll the api-gateway"):
        await rig.stream.tail("p00")


async def test_a_relay_without_its_lease_publishes_nothing(rig: Rig) -> None:
    lease = Lease(rig.redis)
    keeping = asyncio.create_task(lease.keep())
    async with rig.relaying(lease=lease):
        await rig.place(10)
        await rig.all_relayed()
        await rig.redis.set(RELAY_LEASE, "another", px=60_000)
        await until(lambda: not lease.held, within_s=10)
        await rig.place(10, start=1000)

        held = await stream_events(rig.nats)

        assert sum(map(len, held.values())) == 10
        await rig.redis.delete(RELAY_LEASE)
        await rig.all_relayed()  # the other released it: it is taken again
    await ended(keeping)


def test_these_tests_use_the_partitions_of_the_settings(stores: Stores) -> None:
    assert settings_for(stores).partitions == len(partition_names(PARTITIONS))
