"""The relay over an outbox and a stream in memory: order, fence, outages, lease."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.api.errors import RedisUnavailable
from pkg.api.relay.event_stream import Room, StreamUnavailableError
from pkg.api.relay.lane import Lane, batches_of
from pkg.api.relay.metrics import RelayMetrics
from pkg.api.relay.outbox import Entry, Outbox, OutboxState
from pkg.api.relay.recovery import Recovery
from pkg.api.relay.recovery_counts import RecoveryCounts
from pkg.api.relay.relay import Relay
from pkg.auction.events import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    decode_batch,
    encode_batch,
    end_of_batch,
)
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.runtime.background import ended
from pkg.stores.barrier import Tail
from pkg.stores.epochs import Epoch
from pkg.trials.waiting import until
from tests.unit.api.relay.stand_ins import ClosedRedis, GivenLease, OpenRedis

PARTITIONS = ["p00", "p01"]


class MemoryOutbox(Outbox):
    """Entries of each partition, oldest first."""

    def __init__(self) -> None:
        self.partitions = list(PARTITIONS)
        self.entries: dict[str, list[Entry]] = {name: [] for name in PARTITIONS}
        self.archived_to: dict[str, OutboxId] = {}
        self.away = False

    def add(self, partition: str, count: int) -> None:
        for _ in range(count):
            number = len(self.entries[partition]) + 1
            event = f'{{"partition":"{partition}","n":{number}}}'.encode()
            self.entries[partition].append(Entry(OutboxId(1000 + number, 0), event))

    async def read(self, after: Mapping[str, OutboxId], *, block_ms: int) -> dict[str, list[Entry]]:
        del block_ms
        await asyncio.sleep(0.001)
        if self.away:
            raise RedisUnavailable
        found = {
            partition: [each for each in self.entries[partition] if each.id > position]
            for partition, position in after.items()
        }
        return {name: rows[:MAX_BATCH_EVENTS] for name, rows in found.items() if rows}

    async def end(self, partition: str) -> OutboxId:
        if self.away:
            raise RedisUnavailable
        entries = self.entries[partition]
        return entries[-1].id if entries else BEGINNING

    async def event(self, partition: str, entry_id: OutboxId) -> bytes | None:
        return next((each.event for each in self.entries[partition] if each.id == entry_id), None)

    async def trim_to(self, partition: str, through: OutboxId) -> None:
        self.archived_to[partition] = through

    async def state(self, partition: str) -> OutboxState:
        del partition
        return OutboxState(
            depth=0,
            first_unarchived=None,
            archived_to=BEGINNING,
            retired=0,
            retired_from=BEGINNING,
            now_ms=0,
        )

    async def depths(self) -> dict[str, int]:
        return dict.fromkeys(PARTITIONS, 0)


@dataclass
class MemoryStream:
    """JetStream with its fence. ``failures``: how each next publish fails, before or after it."""

    messages: dict[str, list[tuple[int, bytes]]] = field(
        default_factory=lambda: {name: [] for name in PARTITIONS}
    )
    sequence: int = 0
    refused: int = 0
    prepared: int = 0
    failures: list[str] = field(default_factory=list)
    delay_s: float = 0.0
    handed_over: list[bytes] = field(default_factory=list)
    hand_overs_refused: int = 0
    rooms_made: int = 0

    async def prepare(self) -> None:
        self.prepared += 1

    async def tail(self, partition: str) -> Tail:
        await asyncio.sleep(random.uniform(0, self.delay_s))
        if not self.messages[partition]:
            return Tail()
        sequence, data = self.messages[partition][-1]
        return Tail(sequence, *end_of_batch(data))

    async def all_taken(self) -> bool:
        return True

    async def make_room(self, partitions: Sequence[str]) -> Room:
        del partitions
        self.rooms_made += 1
        return Room(0)

    async def widen(self) -> None:
        raise NotImplementedError  # it has no limit

    async def hand_over(self, batch: bytes) -> None:
        if self.handed_over and self.hand_overs_refused:
            self.hand_overs_refused -= 1
            raise StreamUnavailableError("full")
        self.handed_over.append(batch)

    async def publish(self, partition: str, batch: bytes, *, expected: int) -> int:
        await asyncio.sleep(random.uniform(0, self.delay_s))
        failure = self.failures.pop(0) if self.failures else ""
        if failure == "before":
            raise StreamUnavailableError("lost on its way")
        stored = self.messages[partition]
        if expected != (stored[-1][0] if stored else 0):
            self.refused += 1
            raise StreamUnavailableError("wrong last sequence")
        self.sequence += 1
        stored.append((self.sequence, batch))
        if failure == "after":
            raise StreamUnavailableError("its acknowledgement was lost")
        return self.sequence

    def events(self, partition: str) -> list[bytes]:
        return [
            bytes(event)
            for _, data in self.messages[partition]
            for event in decode_batch(data).events
        ]


@dataclass
class Relaying:
    relay: Relay
    lease: GivenLease
    metrics: RelayMetrics


@asynccontextmanager
async def relaying(
    outbox: MemoryOutbox,
    stream: MemoryStream,
    *,
    epoch: int = 0,
    succeeds: tuple[int, ...] = (),
    recovery: Recovery | None = None,
) -> AsyncIterator[Relaying]:
    lease = GivenLease()
    metrics = RelayMetrics(holds_lease=lambda: lease.held, recovery=RecoveryCounts())
    relay = Relay(
        outbox,
        stream,
        lease,
        linger_max_ms=1,
        outbox_max_entries=100_000,
        resend_after_s=600,
        recovery=recovery or OpenRedis(dict.fromkeys(PARTITIONS, Epoch(epoch, succeeds))),
        metrics=metrics,
    )
    task = asyncio.create_task(relay.run())
    try:
        yield Relaying(relay, lease, metrics)
    finally:
        await ended(task)


def everything(outbox: MemoryOutbox, partition: str) -> list[bytes]:
    return [entry.event for entry in outbox.entries[partition]]


def _is_complete(outbox: MemoryOutbox, stream: MemoryStream, partition: str) -> bool:
    return len(stream.events(partition)) >= len(outbox.entries[partition])


async def all_relayed(outbox: MemoryOutbox, stream: MemoryStream) -> None:
    """Each event is in the stream, once, in the outbox's order, and the batches chain."""
    for name in PARTITIONS:
        await until(partial(_is_complete, outbox, stream, name), within_s=10)
        assert stream.events(name) == everything(outbox, name)
        batches = (decode_batch(data) for _, data in stream.messages[name])
        chain = [one for one in batches if one.events or not one.epoch]
        assert [one.prev for one in chain] == ["0-0", *(one.last for one in chain)][: len(chain)]
        assert all(0 < len(one.events) <= MAX_BATCH_EVENTS for one in chain)


async def test_events_are_relayed_in_order_and_in_chained_batches() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 1234)
    outbox.add("p01", 3)

    async with relaying(outbox, stream):
        await all_relayed(outbox, stream)
        outbox.add("p01", 700)
        await all_relayed(outbox, stream)

    sizes = [len(decode_batch(data).events) for _, data in stream.messages["p00"]]
    assert sizes == [500, 500, 234]


async def test_a_relay_resumes_at_the_end_of_the_stream() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 10)
    async with relaying(outbox, stream):
        await all_relayed(outbox, stream)
    outbox.add("p00", 10)

    async with relaying(outbox, stream):
        await all_relayed(outbox, stream)


@pytest.mark.parametrize("seed", range(4))
async def test_publishes_that_fail_before_or_after_being_stored_leave_no_gap_and_no_duplicate(
    seed: int,
) -> None:
    chance = random.Random(seed)
    outbox, stream = MemoryOutbox(), MemoryStream()
    stream.failures = chance.choices(["", "before", "after"], k=5)

    async with relaying(outbox, stream) as running:
        for _ in range(10):
            outbox.add(chance.choice(PARTITIONS), chance.randint(1, 300))
            await asyncio.sleep(0.002)
        await all_relayed(outbox, stream)

    assert running.metrics.failures > 0 or not {"before", "after"} & set(stream.failures)


@pytest.mark.parametrize("seed", range(3))
async def test_relays_that_all_think_they_have_the_lease_publish_nothing_twice(seed: int) -> None:
    chance = random.Random(seed)
    outbox, stream = MemoryOutbox(), MemoryStream(delay_s=0.003)

    async with relaying(outbox, stream), relaying(outbox, stream), relaying(outbox, stream):
        for _ in range(40):
            outbox.add(chance.choice(PARTITIONS), chance.randint(1, 20))
            await asyncio.sleep(0.003)
        await all_relayed(outbox, stream)

    assert stream.refused > 0


async def test_a_lost_stream_is_refilled_from_the_outbox() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 20)
    async with relaying(outbox, stream) as running:
        await all_relayed(outbox, stream)
        prepared = stream.prepared

        stream.messages = {name: [] for name in PARTITIONS}
        running.relay.resync()

        await all_relayed(outbox, stream)
        assert stream.prepared > prepared


async def test_a_relay_that_lost_the_lease_stops_and_rereads_the_stream_before_it_resumes() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    async with relaying(outbox, stream) as first:
        outbox.add("p00", 5)
        await all_relayed(outbox, stream)
        first.lease.take()
        await until(lambda: first.lease.waits, within_s=5)
        async with relaying(outbox, stream):
            outbox.add("p00", 5)
            await all_relayed(outbox, stream)
        stored = len(stream.messages["p00"])
        outbox.add("p00", 5)
        await asyncio.sleep(0.05)
        assert len(stream.messages["p00"]) == stored

        first.lease.give()

        await all_relayed(outbox, stream)
    assert stream.refused == 0


async def test_an_unreadable_outbox_is_retried() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.away = True
    async with relaying(outbox, stream) as running:
        outbox.add("p01", 5)
        await until(lambda: running.metrics.failures >= 2, within_s=5)

        outbox.away = False

        await all_relayed(outbox, stream)


async def test_the_outbox_is_trimmed_to_the_watermark_and_an_older_one_is_ignored() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 10)
    async with relaying(outbox, stream) as running:
        await all_relayed(outbox, stream)
        running.relay.archive_has("p00", OutboxId(1005, 0))
        running.relay.archive_has("p00", OutboxId(1003, 0))
        running.relay.archive_has("p77", OutboxId(1003, 0))

        await until(lambda: outbox.archived_to, within_s=5)

    assert outbox.archived_to == {"p00": OutboxId(1005, 0)}


async def test_a_watermark_beyond_what_was_stored_trims_nothing_and_is_counted_once() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 10)
    async with relaying(outbox, stream) as running:
        await all_relayed(outbox, stream)
        ahead = OutboxId(9_999_999_999_999, 0)
        running.relay.archive_has("p00", ahead)
        await until(lambda: running.metrics.watermarks_refused, within_s=5)
        running.relay.archive_has("p00", ahead)
        running.relay.archive_has("p00", OutboxId(1003, 0))

        await until(lambda: outbox.archived_to, within_s=5)

    assert outbox.archived_to == {"p00": OutboxId(1003, 0)}
    assert running.metrics.watermarks_refused == 1


async def test_a_watermark_that_was_believed_is_no_alarm_after_nats_lost_its_store() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 10)
    async with relaying(outbox, stream) as running:
        await all_relayed(outbox, stream)
        running.relay.archive_has("p00", OutboxId(1010, 0))
        await until(lambda: outbox.archived_to, within_s=5)
        outbox.entries["p00"].clear()
        stream.messages["p00"].clear()
        running.relay.resync()

        running.relay.archive_has("p00", OutboxId(1010, 0))
        running.relay.archive_has("p01", OutboxId(1011, 0))  # judged after the other one
        await until(lambda: running.metrics.watermarks_refused, within_s=5)

    assert running.metrics.watermarks_refused == 1


async def test_watermarks_of_another_epoch_trim_nothing() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 10)
    async with relaying(outbox, stream, epoch=20) as running:
        await all_relayed(outbox, stream)
        running.relay.archive_has("p00", OutboxId(1009, 0), 10)
        running.relay.archive_has("p00", OutboxId(1003, 0), 20)

        await until(lambda: outbox.archived_to, within_s=5)

    assert outbox.archived_to == {"p00": OutboxId(1003, 0)}


async def test_a_relay_publishes_its_epoch_first_and_stops_at_one_it_does_not_know() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    async with relaying(outbox, stream, epoch=20) as running:
        outbox.add("p00", 1)
        await until(lambda: stream.events("p00"), within_s=5)
        epochs = [decode_batch(data).epoch for _, data in stream.messages["p00"]]

        outbox.entries["p00"].clear()
        sequence = (await stream.tail("p00")).sequence
        theirs = encode_batch("p00", prev=BEGINNING, last=BEGINNING, events=[], epoch=30)
        await stream.publish("p00", theirs, expected=sequence)
        outbox.add("p00", 2)
        running.relay.resync()
        await until(lambda: running.metrics.failures, within_s=5)
        await until(lambda: stream.handed_over, within_s=5)

    assert epochs == [20, 20]
    assert (await stream.tail("p00")).epoch == 30


async def test_a_superseded_redis_is_handed_over_once_even_if_the_stream_refuses_a_part() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream(hand_overs_refused=2)
    theirs = encode_batch("p00", prev=BEGINNING, last=BEGINNING, events=[], epoch=30)
    await stream.publish("p00", theirs, expected=0)
    outbox.add("p00", MAX_BATCH_EVENTS + 3)

    async with relaying(outbox, stream, epoch=20):
        await until(lambda: not stream.hand_overs_refused, within_s=5)
        await until(lambda: len(stream.handed_over) == 2, within_s=5)

    events = [bytes(each) for data in stream.handed_over for each in decode_batch(data).events]
    assert events == everything(outbox, "p00")


async def test_the_stream_makes_room_while_redis_is_closed() -> None:
    """A restore publishes too."""
    outbox, stream = MemoryOutbox(), MemoryStream()

    async with relaying(outbox, stream, recovery=ClosedRedis()):
        await until(lambda: stream.rooms_made, within_s=5)

    assert stream.prepared == 0


async def test_after_another_epoch_s_message_all_is_published_again() -> None:
    """The other history went past ids that it does not hold: its epoch is of our past, and it still
    published when we were opened without the stream.
    """
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 5)
    theirs = encode_batch("p00", prev=BEGINNING, last=OutboxId(1003, 0), events=[b"1"], epoch=10)
    await stream.publish("p00", theirs, expected=0)
    async with relaying(outbox, stream, epoch=20, succeeds=(10,)) as one:
        one.relay.archive_has("p00", OutboxId(1003, 0), 20)

        await until(lambda: len(stream.events("p00")) == 6, within_s=10)

    assert stream.events("p00")[1:] == everything(outbox, "p00")


async def test_a_relay_overtakes_an_epoch_that_only_the_archive_knows() -> None:
    """NATS lost the message that began it: in our own epoch all would be kept apart for ever."""
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 3)
    async with relaying(outbox, stream, epoch=10) as one:
        await until(lambda: len(stream.events("p00")) == 3, within_s=10)

        one.relay.archive_has("p00", OutboxId(1002, 0), 20)
        await until(lambda: len(stream.events("p00")) == 6, within_s=10)

    assert (await stream.tail("p00")).epoch == 21
    assert "p00" not in outbox.archived_to


async def test_a_watermark_of_an_epoch_that_no_opening_took_is_refused_and_counted_once() -> None:
    """Above it, no epoch would be left that the stores can hold."""
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 3)
    async with relaying(outbox, stream, epoch=10) as one:
        await until(lambda: len(stream.events("p00")) == 3, within_s=10)

        for _ in range(2):
            one.relay.archive_has("p00", OutboxId(1002, 0), 2**63 - 1)
        one.relay.archive_has("p00", OutboxId(1002, 0), 10)
        await until(lambda: outbox.archived_to, within_s=10)

    assert (await stream.tail("p00")).epoch == 10
    assert one.metrics.watermarks_refused == 1


async def test_a_superseded_outbox_is_handed_over_again_when_nats_comes_back() -> None:
    """NATS may have lost the end of its stream."""
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 3)
    theirs = encode_batch("p00", prev=BEGINNING, last=OutboxId(1001, 0), events=[b"1"], epoch=20)
    await stream.publish("p00", theirs, expected=0)
    async with relaying(outbox, stream, epoch=10) as one:
        await until(lambda: len(stream.handed_over) == 1, within_s=10)

        one.relay.resync()

        await until(lambda: len(stream.handed_over) == 2, within_s=10)


@pytest.mark.parametrize("events", [[], [b"1"]])
async def test_a_message_with_the_id_but_not_the_event_of_an_entry_is_not_taken_for_our_position(
    events: list[bytes],
) -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    outbox.add("p00", 10)
    foreign = encode_batch("p00", prev=BEGINNING, last=OutboxId(1010, 0), events=events)
    await stream.publish("p00", foreign, expected=0)

    async with relaying(outbox, stream, epoch=20) as running:
        await until(lambda: len(stream.events("p00")) == 10 + len(events), within_s=5)

    assert stream.events("p00") == events + everything(outbox, "p00")
    assert running.metrics.foreign_messages == 1


async def test_a_message_beyond_every_id_of_the_outbox_is_not_taken_for_our_position() -> None:
    outbox, stream = MemoryOutbox(), MemoryStream()
    foreign = encode_batch("p00", prev=BEGINNING, last=OutboxId(9_999_999_999_999, 0), events=[])
    await stream.publish("p00", foreign, expected=0)
    outbox.add("p00", 10)

    async with relaying(outbox, stream) as running:
        await until(lambda: len(stream.events("p00")) == 10, within_s=5)

    assert stream.events("p00") == everything(outbox, "p00")
    assert running.metrics.foreign_messages == 1


@given(st.lists(st.integers(1, MAX_BATCH_BYTES + 10_000), min_size=1, max_size=12))
def test_batches_are_split_at_512_kib_and_hold_every_entry_in_order(sizes: list[int]) -> None:
    entries = [Entry(OutboxId(n + 1, 0), b"x" * size) for n, size in enumerate(sizes)]

    batches = batches_of(entries)

    assert [entry for batch in batches for entry in batch] == entries
    for batch in batches:
        joined = sum(len(entry.event) + 1 for entry in batch) - 1
        assert joined <= MAX_BATCH_BYTES or len(batch) == 1


def test_what_was_believed_in_another_epoch_is_forgotten() -> None:
    """It may be of another Redis, whose ids say nothing of ours."""
    metrics = RelayMetrics(holds_lease=lambda: True)
    lane = Lane("p00", metrics, epoch=10, announced=OutboxId(7, 0), archived=OutboxId(5, 0))

    lane.enter(10)
    kept = lane.archived
    lane.enter(20)

    assert kept == OutboxId(5, 0)
    assert (lane.epoch, lane.announced, lane.archived) == (20, BEGINNING, BEGINNING)
