"""What must hold after every step."""

from dataclasses import dataclass, field

from pkg.auction.outbox import BEGINNING, OutboxId
from tests.unit.model.archive import Archive
from tests.unit.model.forgetful_redis import ForgetfulRedis
from tests.unit.model.jetstream import JetStream, Stored
from tests.unit.model.world import Violation


@dataclass
class Promises:
    redis: ForgetfulRedis
    stream: JetStream
    archive: Archive
    destroyed: set[str] = field(default_factory=set)
    """Events whose last copy a store lost. No promise covers them."""
    _held: set[str] = field(default_factory=set)
    _seen: int = 0
    _delivered: set[str] = field(default_factory=set)
    _newest: dict[str, OutboxId] = field(default_factory=dict)
    _stream_lost_something: bool = False
    _cut_out: set[str] = field(default_factory=set)

    def check(self) -> None:
        self._nothing_is_lost()
        self._nothing_is_archived_twice()
        self._order_is_kept()
        self._watermark_passes_nothing()

    def stream_lost(self, *, being_removed: set[str]) -> None:
        self._stream_lost_something = True
        self.store_lost(being_removed=being_removed)

    def cut_out(self, event_ids: list[str], *, being_removed: set[str]) -> None:
        """A message was removed from the stream. Its events may be lost: before a relay trims by
        age it checks only the last message.
        """
        self._cut_out |= set(event_ids)
        self.stream_lost(being_removed=being_removed)

    def store_lost(self, *, being_removed: set[str]) -> None:
        """A store lost data, which is no fault of the system. That includes ``being_removed``: a
        relay trims these events because the store has just confirmed them.
        """
        held = self.held()
        self.destroyed |= (self._held - held) | (being_removed - self._stored_downstream())
        self._held = held

    def held(self) -> set[str]:
        return self.redis.held() | self._stored_downstream()

    def outstanding(self) -> set[str]:
        """Events that were accepted and not destroyed, but are not in the archive."""
        return set(self.redis.accepted) - self.destroyed - self.archive.held()

    def all_is_archived(self) -> None:
        """Must hold only once everything works again."""
        if missing := self.outstanding():
            raise Violation(f"never archived: {self._named(missing)}")
        for letter in self.archive.tables.letters.values():
            place = letter["item_id"], letter["seq"]
            rivals = [
                row
                for row in self.archive.tables.bids
                if (row["item_id"], row["seq"]) == place and row["event_id"] != letter["event_id"]
            ]
            if not rivals:
                raise Violation(f"a dead letter without a conflict: {letter}")

    def _stored_downstream(self) -> set[str]:
        return self.stream.held() | self.archive.held()

    def _nothing_is_lost(self) -> None:
        held = self.held()
        self.destroyed |= (self._held - held) & self._cut_out
        if lost := self._held - held - self.destroyed:
            raise Violation(f"no store holds any more: {self._named(lost)}")
        self._held = held

    def _nothing_is_archived_twice(self) -> None:
        bids = self.archive.tables.bids
        if len({row["event_id"] for row in bids}) != len(bids):
            raise Violation("an event is in bids twice")
        if len({(row["item_id"], row["seq"]) for row in bids}) != len(bids):
            raise Violation("an item's seq is in bids twice")

    def _order_is_kept(self) -> None:
        """Events enter the stream in the order of the outbox. They enter it again only in a resend
        from the oldest, or after the stream lost data.
        """
        for partition in self.redis.partitions:
            previous: Stored | None = None
            for message in self.stream.of(partition):
                if message.storing > self._seen:
                    self._first_deliveries_rise(message)
                    again = previous is not None and message.prev < previous.last
                    if again and message.prev != BEGINNING and not self._stream_lost_something:
                        raise Violation(f"published twice: {partition} {message.prev}")
                previous = message
        self._seen = max([self._seen, *(each.storing for each in self.stream.messages)])

    def _first_deliveries_rise(self, message: Stored) -> None:
        ids = [self.redis.accepted[each].outbox_id for each in message.event_ids]
        if not message.prev < ids[0] or ids[-1] != message.last or ids != sorted(ids):
            raise Violation(f"the batch's stretch does not match its events: {message}")
        for event_id, outbox_id in zip(message.event_ids, ids, strict=True):
            if event_id in self._delivered | self.destroyed:
                continue  # Redis forgot it, and a late publish brought it back
            self._delivered.add(event_id)
            newest = self._newest.get(message.partition, BEGINNING)
            if outbox_id < newest:
                raise Violation(f"{self._named({event_id})} came after {newest}")
            self._newest[message.partition] = outbox_id

    def _watermark_passes_nothing(self) -> None:
        lacking = self.held() - self.archive.held() - self.destroyed
        for event_id in lacking:
            fact = self.redis.accepted[event_id]
            mark = self.archive.tables.watermarks.get(fact.partition)
            if mark is not None and mark >= fact.outbox_id:
                raise Violation(f"the watermark {mark} passed {self._named({event_id})}")

    def _named(self, event_ids: set[str]) -> list[str]:
        facts = sorted(
            (self.redis.accepted[each] for each in event_ids), key=lambda fact: fact.outbox_id
        )
        return [f"{fact.item_id} seq {fact.seq} at {fact.outbox_id}" for fact in facts]
