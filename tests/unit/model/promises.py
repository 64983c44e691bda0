"""What must hold after every step."""

from dataclasses import dataclass, field

from pkg.archival.intake import Reason
from pkg.auction.outbox import BEGINNING, OutboxId
from tests.unit.model.archive import Archive, Row
from tests.unit.model.forgetful_redis import Fact, ForgetfulRedis
from tests.unit.model.jetstream import JetStream, Stored
from tests.unit.model.world import Violation


@dataclass
class Promises:
    servers: list[ForgetfulRedis]
    stream: JetStream
    archive: Archive
    destroyed: set[str] = field(default_factory=set)
    """Events whose last copy a store lost. No promise covers them."""
    _held: set[str] = field(default_factory=set)
    _seen: int = 0
    _delivered: set[str] = field(default_factory=set)
    _newest: dict[str, OutboxId] = field(default_factory=dict)
    _begins: dict[tuple[str, int], OutboxId] = field(default_factory=dict)
    """The highest id in the stream when a partition's epoch began."""
    _stream_lost_something: bool = False
    _cut_out: set[str] = field(default_factory=set)

    def check(self) -> None:
        self._nothing_is_lost()
        self._nothing_is_archived_twice()
        self._order_is_kept()
        self._watermark_passes_nothing()

    def stream_lost(self, *, being_removed: set[str]) -> None:
        self._stream_lost_something = True
        held = {(each.partition, each.epoch) for each in self.stream.messages}
        self._begins = {begun: at for begun, at in self._begins.items() if begun in held}
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
        return self.in_outboxes() | self._stored_downstream()

    def in_outboxes(self) -> set[str]:
        return set[str]().union(*(server.held() for server in self.servers))

    @property
    def accepted(self) -> dict[str, Fact]:
        return self.servers[0].accepted

    def outstanding(self) -> set[str]:
        """Events that were accepted and not destroyed, but are not in the archive."""
        return set(self.accepted) - self.destroyed - self.archive.held()

    def all_is_archived(self) -> None:
        """Must hold only once everything works again."""
        if missing := self.outstanding():
            raise Violation(f"never archived: {self._named(missing)}")
        bids = self.archive.tables.bids
        archived = {row["event_id"] for row in bids}
        for letter in self.archive.tables.letters.values():
            place = letter["item_id"], letter["seq"]
            rivals = [
                row
                for row in bids
                if (row["item_id"], row["seq"]) == place and row["event_id"] != letter["event_id"]
            ]
            if rivals:
                continue
            if letter["reason"] == Reason.SEQ_CONFLICT:
                raise Violation(f"a dead letter without a conflict: {letter}")
            if letter["event_id"] not in archived and self._is_of_last_history(letter):
                raise Violation(f"kept apart, although the last history accepted it: {letter}")

    def _is_of_last_history(self, letter: Row) -> bool:
        fact = self.accepted[letter["event_id"]]
        return any(
            server.open
            and server.name == fact.server
            and server.epoch(fact.partition) == fact.epoch
            for server in self.servers
        )

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
        for partition in self.servers[0].partitions:
            previous: Stored | None = None
            for message in self.stream.of(partition):
                if message.storing > self._seen:
                    self._first_deliveries_rise(message)
                    self._epoch_begins(message)
                    again = (
                        message.event_ids and previous is not None and message.prev < previous.last
                    )
                    if again and message.prev != BEGINNING and not self._stream_lost_something:
                        raise Violation(f"published twice: {partition} {message.prev}")
                previous = message
        self._seen = max([self._seen, *(each.storing for each in self.stream.messages)])

    def _epoch_begins(self, message: Stored) -> None:
        """From now on only the order within the epoch counts."""
        begun = (message.partition, message.epoch)
        if len(self.servers) > 1 and begun not in self._begins:
            self._begins[begun] = self._newest.pop(message.partition, BEGINNING)

    def _first_deliveries_rise(self, message: Stored) -> None:
        ids = [self.accepted[each].outbox_id for each in message.event_ids]
        if not ids:
            return  # it begins an epoch
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
        """Of the history that the archive follows."""
        archived = self.archive.held() | self.destroyed
        for partition, mark in self.archive.tables.watermarks.items():
            for event_id, epoch in self._history_of(partition).items():
                outbox_id = self.accepted[event_id].outbox_id
                # What an epoch found passed when it began is published again, and kept until then.
                passed = self._begins.get((partition, epoch), BEGINNING) < outbox_id <= mark
                if passed and event_id not in archived:
                    raise Violation(f"the watermark {mark} passed {self._named({event_id})}")

    def _history_of(self, partition: str) -> dict[str, int]:
        """The partition's events with the epoch that publishes them, less those of superseded
        epochs.
        """
        newest, began = self.archive.tables.epochs.get(partition, (0, 0))
        history: dict[str, int] = {}
        for each in self.stream.of(partition):
            if not (0 < each.epoch < newest and each.sequence > began):
                history |= dict.fromkeys(each.event_ids, each.epoch)
        for server in self.servers:
            epoch = server.epoch(partition)
            begun = epoch >= newest and (partition, epoch) in self._begins
            if begun or len(self.servers) == 1:
                history |= dict.fromkeys(server.held(partition), epoch)
        return history

    def _named(self, event_ids: set[str]) -> list[str]:
        facts = sorted((self.accepted[each] for each in event_ids), key=lambda fact: fact.outbox_id)
        return [f"{fact.item_id} seq {fact.seq} at {fact.outbox_id}" for fact in facts]
