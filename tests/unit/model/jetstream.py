"""JetStream in memory: the stream, its fence, and the archive's durable consumer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from pkg.api.relay.event_stream import FencedError, Room, StreamUnavailableError
from pkg.auction.events import decode_batch, decode_event
from pkg.auction.outbox import OutboxId
from pkg.auction.subjects import SUPERSEDED
from pkg.stores.barrier import Tail
from tests.unit.model.world import Place, World

ACK = "$JS.ACK."
KEEP_S = 1_200


@dataclass(frozen=True)
class Stored:
    sequence: int
    partition: str
    data: bytes
    at_ms: int
    storing: int
    """Counts all messages ever stored; unlike sequences it is never reused."""

    @cached_property
    def last(self) -> OutboxId:
        return OutboxId.parse(decode_batch(self.data).last)

    @cached_property
    def prev(self) -> OutboxId:
        return OutboxId.parse(decode_batch(self.data).prev)

    @cached_property
    def epoch(self) -> int:
        return decode_batch(self.data).epoch

    @cached_property
    def event_ids(self) -> list[str]:
        return [decode_event(raw).event_id for raw in decode_batch(self.data).events]


@dataclass
class Consumer:
    """Durable, with explicit acknowledgements. Redelivers everything that is not ``done``."""

    made: datetime
    done: set[int] = field(default_factory=set)
    delivered: set[int] = field(default_factory=set)


class JetStream:
    def __init__(self, world: World) -> None:
        self._world = world
        self.exists = False
        self.system: str | None = None
        self.messages: list[Stored] = []
        self.sequence = 0
        self.consumer: Consumer | None = None
        self._consumers_made = 0
        self._storings = 0

    def of(self, partition: str) -> list[Stored]:
        return [each for each in self.messages if each.partition == partition]

    def held(self) -> set[str]:
        return {event_id for each in self.messages for event_id in each.event_ids}

    def bids_of(self, partition: str) -> list[dict[str, Any]]:
        events = [
            decode_event(raw)
            for each in self.of(partition)
            for raw in decode_batch(each.data).events
        ]
        return [{"item_id": event.item_id, "seq": event.seq} for event in events]

    def make(self) -> str | None:
        """Returns the system that it belongs to."""
        self.exists = True
        return self.system

    def tail(self, partition: str) -> Tail:
        self._require_stream()
        stored = self.of(partition)
        if not stored:
            return Tail()
        return Tail(stored[-1].sequence, stored[-1].last, stored[-1].epoch)

    def publish(self, partition: str, data: bytes, *, expected: int) -> int:
        self._require_stream()
        if not self.fence_lets_in(partition, expected):
            raise FencedError("wrong last sequence")
        return self.store(partition, data)

    def store(self, partition: str, data: bytes) -> int:
        """Without a fence, as what a superseded Redis hands over."""
        self._require_stream()
        self.sequence += 1
        self._storings += 1
        self.messages.append(
            Stored(self.sequence, partition, data, self._world.now_ms, self._storings)
        )
        return self.sequence

    def fence_lets_in(self, partition: str, expected: int) -> bool:
        """Checks ``Nats-Expected-Last-Subject-Sequence``."""
        return self.tail(partition).sequence == expected

    def ensure_consumer(self) -> datetime:
        self.make()
        if self.consumer is None:
            self._consumers_made += 1
            self.consumer = Consumer(
                datetime(2026, 1, 1, tzinfo=UTC) + timedelta(self._consumers_made)
            )
        return self.consumer.made

    def all_taken(self) -> bool:
        return self.consumer is not None and not self.waiting()

    def waiting(self) -> list[Stored]:
        """The messages that the consumer may deliver or redeliver."""
        done = self.consumer.done if self.consumer else set()
        return [each for each in self.messages if each.sequence not in done]

    def delivers(self, stored: Stored) -> None:
        assert self.consumer
        self.consumer.delivered.add(stored.sequence)

    def reply_of(self, stored: Stored) -> str:
        """The subject of its acknowledgement."""
        return f"{ACK}BID_EVENTS.archival-worker.1.{stored.sequence}.1.{stored.storing}.0"

    def acknowledged(self, reply: str) -> None:
        sequence = int(reply.split(".")[-4])
        # The server (2.15.1) checks only the sequence, which may belong to another message by now.
        if self.consumer and sequence in self.consumer.delivered:
            self.consumer.done.add(sequence)

    def make_room(self) -> Room:
        """Removes what is old and acknowledged, but no partition's last message."""
        border = self._world.now_ms - KEEP_S * 1000
        lasts = {each.partition: each.sequence for each in self.messages}
        gone = [
            each
            for each in self.messages
            if each.at_ms < border
            and each.sequence <= self.archived_to()
            and each.sequence != lasts[each.partition]
        ]
        if gone:
            self.messages = [each for each in self.messages if each not in gone]
            self._world.note(f"old messages are removed: {[each.sequence for each in gone]}")
        return Room(0, len(gone))

    def archived_to(self) -> int:
        """The consumer's acknowledgement floor."""
        if self.consumer is None:
            return 0
        return min((each.sequence - 1 for each in self.waiting()), default=self.sequence)

    def delete(self) -> None:
        self.exists, self.system = False, None
        self.messages, self.sequence, self.consumer = [], 0, None

    def cut_tail(self, count: int) -> None:
        """Loses the last messages, as a power failure does before they are on disk. The server
        resets the consumer to what is left and reuses the sequences (seen with 2.15.1).
        """
        cut = {each.sequence for each in self.messages[-count:]}
        if cut:
            self.messages = self.messages[:-count]
            self.sequence = min(cut) - 1
        if self.consumer:
            kept = range(self.sequence + 1)
            self.consumer.done.intersection_update(kept)
            self.consumer.delivered.intersection_update(kept)

    def _require_stream(self) -> None:
        if not self.exists:
            raise StreamUnavailableError("no stream")


class ModelStream:
    """A relay's connection to JetStream; an EventStream."""

    def __init__(self, world: World, stream: JetStream, caller: str) -> None:
        self._world = world
        self._stream = stream
        self._caller = caller

    async def prepare(self) -> str | None:
        system: str | None = await self._world.call(
            self._caller, Place.NATS, "prepare", self._stream.make, failure=StreamUnavailableError
        )
        return system

    async def tail(self, partition: str) -> Tail:
        answer: Tail = await self._world.call(
            self._caller,
            Place.NATS,
            f"last of {partition}",
            lambda: self._stream.tail(partition),
            failure=StreamUnavailableError,
        )
        return answer

    async def all_taken(self) -> bool:
        return bool(
            await self._world.call(
                self._caller,
                Place.NATS,
                "all taken?",
                self._stream.all_taken,
                failure=StreamUnavailableError,
            )
        )

    async def make_room(self, partitions: Sequence[str]) -> Room:
        del partitions
        room: Room = await self._world.call(
            self._caller,
            Place.NATS,
            "make room",
            self._stream.make_room,
            failure=StreamUnavailableError,
        )
        return room

    async def widen(self) -> None:
        raise NotImplementedError  # it has no limit

    async def hand_over(self, batch: bytes) -> None:
        await self._world.call(
            self._caller,
            Place.NATS,
            "hand over",
            lambda: self._stream.store(SUPERSEDED, batch),
            failure=StreamUnavailableError,
            may_be_late=True,
        )

    async def publish(self, partition: str, batch: bytes, *, expected: int) -> int:
        said = decode_batch(batch)
        sequence: int = await self._world.call(
            self._caller,
            Place.NATS,
            f"publish {partition} {said.prev} -> {said.last} expecting {expected}",
            lambda: self._stream.publish(partition, batch, expected=expected),
            failure=StreamUnavailableError,
            may_be_late=True,
        )
        return sequence
