"""Turns the stream's messages into what one transaction archives. Nothing is dropped: what nobody
could archive becomes a dead letter, and what a newer worker can read is refused whole.
"""

import decimal
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from pkg.archival.epochs import Origin
from pkg.archival.watermark import Stretch
from pkg.auction.events import (
    Batch,
    EpochNumber,
    UndecodableError,
    UnknownVersionError,
    decode_batch,
    decode_event,
    is_credible_epoch,
)
from pkg.auction.ids import is_identifier
from pkg.auction.money import MAX_CENTS
from pkg.auction.outbox import OutboxId
from pkg.auction.subjects import SUPERSEDED, events_subject

MAX_BIGINT = 2**63 - 1
_MAX_AMOUNT = Decimal(MAX_CENTS).scaleb(-2)
_CENT = Decimal("0.01")
MAX_AHEAD_S = 600.0
"""How far Redis' clock, which gives outbox ids, may be ahead of that of NATS."""
_TIMESTAMP_LENGTH = len("2026-01-01T00:00:00.000000Z")
_HEX = "[0-9a-fA-F]"
_UUID = re.compile(f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}")
_SUBJECT_PREFIX = events_subject("")


class Reason(StrEnum):
    """Why an event or a message is a dead letter."""

    UNDECODABLE = "undecodable"
    WRONG_PARTITION = "wrong_partition"
    BAD_EVENT = "bad_event"
    REFUSED = "refused"
    SEQ_CONFLICT = "seq_conflict"
    BID_ID_CONFLICT = "bid_id_conflict"
    SUPERSEDED_EPOCH = "superseded_epoch"


class _Envelope(msgspec.Struct, frozen=True):
    """What may still be readable of a batch that does not decode."""

    partition: str
    prev: str
    last: str
    epoch: EpochNumber = 0


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class ArchivableEvent(msgspec.Struct, frozen=True, gc=False):
    """A bid that the archive's columns hold without loss; ``text`` is its JSON as published.

    A struct, as a frozen dataclass takes four times as long to make, thousands of times a second.
    """

    event_id: str
    item_id: str
    seq: int
    placed_at: datetime
    origin: Origin
    text: str

    @property
    def partition(self) -> str:
        return self.origin.partition


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event or message that could not be archived. Facts that are missing or invalid are None;
    ``error`` may quote any text.
    """

    reason: Reason
    payload: bytes
    error: str
    partition: str | None = None
    item_id: str | None = None
    seq: int | None = None
    event_id: str | None = None


class Reader:
    """Reads what the stream holds. A test makes a newer one to stand for the next release."""

    def batch(self, data: bytes) -> Batch:
        """Raises UnknownVersionError, UndecodableError: as ``decode_batch``."""
        return decode_batch(data)

    def event(self, raw: msgspec.Raw, origin: Origin) -> ArchivableEvent:
        """Raises UnknownVersionError, UndecodableError: as ``archivable``."""
        return archivable(raw, origin)


@dataclass(slots=True)
class Portion:
    """What one transaction archives."""

    reader: Reader = field(default_factory=Reader, compare=False)
    events: list[ArchivableEvent] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    superseded: list[ArchivableEvent] = field(default_factory=list)
    """What a superseded Redis still held."""
    batches: list[tuple[Origin, Stretch | None]] = field(default_factory=list)
    """What each batch covers; None if it only begins an epoch."""

    def add(
        self, subject: str, data: bytes, *, sequence: int = 0, published_s: float | None = None
    ) -> None:
        """Adds a message of the stream. Its content may be anything.

        ``published_s``: when it was published, in seconds since 1970, if that is known.

        Raises:
            UnknownVersionError: a newer worker has to archive it. Nothing of it was added.
        """
        partition = partition_of_subject(subject)
        if not is_identifier(partition):
            error_text = f"the subject names no partition: {subject!r}"
            self.dead_letters.append(DeadLetter(Reason.WRONG_PARTITION, data, error_text))
            return
        try:
            batch = self.reader.batch(data)
            origin = Origin(partition, batch.epoch, sequence)
            if batch.prev == batch.last and not batch.events:
                # It makes a stale relay's next publish fail, and may begin an epoch.
                if batch.epoch and batch.partition == partition:
                    self.batches.append((origin, None))
                return
            stretch = _stretch(batch.prev, batch.last)
        except UnknownVersionError:
            raise
        except UndecodableError as error:
            self._add_unreadable(partition, data, error, sequence, published_s)
            return
        if partition == SUPERSEDED:
            self._add_superseded(batch, data, sequence)
            return
        if batch.partition != partition:
            error_text = f"published for {partition}, but its partition is {batch.partition!r}"
            self.dead_letters.append(
                DeadLetter(Reason.WRONG_PARTITION, data, error_text, partition=partition)
            )
            return
        if not batch.events:
            # No relay publishes one: the watermark would pass events that it does not hold.
            error_text = f"covers {batch.prev} to {batch.last} without an event"
            self.dead_letters.append(
                DeadLetter(Reason.UNDECODABLE, data, error_text, partition=partition)
            )
            return
        events, dead_letters = self._read(batch, origin)
        self.events += events
        if dead_letters and (why := _from_the_future(stretch, published_s)):
            # Maybe not ours. The watermark would pass what the outbox has yet to give out.
            dead_letters = [replace(each, error=f"{each.error}; {why}") for each in dead_letters]
        else:
            self.batches.append((origin, stretch))
        self.dead_letters += dead_letters

    def _add_superseded(self, batch: Batch, data: bytes, sequence: int) -> None:
        if not is_identifier(batch.partition):
            error_text = f"handed over for {batch.partition!r}, which names no partition"
            self.dead_letters.append(
                DeadLetter(Reason.WRONG_PARTITION, data, error_text, partition=SUPERSEDED)
            )
            return
        events, dead_letters = self._read(batch, Origin(batch.partition, batch.epoch, sequence))
        self.superseded += events
        self.dead_letters += dead_letters

    def _read(self, batch: Batch, origin: Origin) -> tuple[list[ArchivableEvent], list[DeadLetter]]:
        events: list[ArchivableEvent] = []
        dead_letters: list[DeadLetter] = []
        for raw in batch.events:
            try:
                events.append(self.reader.event(raw, origin))
            except UnknownVersionError:
                raise
            except UndecodableError as error:
                dead_letters.append(_bad_event(raw, origin.partition, error))
        return events, dead_letters

    @property
    def oldest(self) -> datetime | None:
        return min((event.placed_at for event in self.events), default=None)

    def __len__(self) -> int:
        return len(self.events) + len(self.superseded) + len(self.dead_letters)

    def _add_unreadable(
        self,
        partition: str,
        data: bytes,
        error: UndecodableError,
        sequence: int,
        published_s: float | None,
    ) -> None:
        """The dead letter keeps the whole message. The watermark may pass it only if the envelope
        still says which stretch it covers.
        """
        try:
            envelope = _decode_envelope(data)
            if envelope.partition == partition and is_credible_epoch(envelope.epoch):
                stretch = _stretch(envelope.prev, envelope.last)
                if why := _from_the_future(stretch, published_s):
                    error.add_note(why)
                else:
                    self.batches.append((Origin(partition, envelope.epoch, sequence), stretch))
        except (msgspec.MsgspecError, UndecodableError, RecursionError) as more:
            error.add_note(f"its envelope is not readable either: {more}")
        self.dead_letters.append(
            DeadLetter(Reason.UNDECODABLE, data, _sentence(error), partition=partition)
        )


def partition_of_subject(subject: str) -> str:
    return subject.removeprefix(_SUBJECT_PREFIX)


def unstorable(subject: str, data: bytes, why: str) -> DeadLetter:
    """Keeps a message of which PostgreSQL cannot hold a part."""
    partition = partition_of_subject(subject)
    known = partition if is_identifier(partition) else None
    return DeadLetter(Reason.UNDECODABLE, data, why, partition=known)


def archivable(raw: msgspec.Raw, origin: Origin) -> ArchivableEvent:
    """Decodes an event and rejects what PostgreSQL would refuse, round or misread.

    Raises:
        UnknownVersionError: its kind is unknown.
        UndecodableError: it is not a bid, or the columns cannot hold it unchanged.
    """
    event = decode_event(raw)
    if not (is_identifier(event.item_id) and is_identifier(event.user_id)):
        raise UndecodableError("item_id or user_id is not an identifier")
    if not (_UUID.fullmatch(event.event_id) and _UUID.fullmatch(event.bid_id)):
        raise UndecodableError("event_id or bid_id is not a UUID")
    if not 0 < event.seq <= MAX_BIGINT:
        raise UndecodableError(f"seq is out of range: {event.seq}")
    if not (_is_money(event.amount) and event.amount > 0 and _is_money(event.previous_bid)):
        raise UndecodableError("amount or previous_bid is not an amount of money with two decimals")
    try:
        if len(event.timestamp) != _TIMESTAMP_LENGTH or not event.timestamp.endswith("Z"):
            raise UndecodableError("timestamp is not RFC 3339 with microseconds in UTC")
        placed_at = datetime.fromisoformat(event.timestamp)
        text = str(raw, "utf-8")
    except ValueError as error:
        raise UndecodableError(f"not an event: {error}") from error
    return ArchivableEvent(
        event.event_id.lower(), event.item_id, event.seq, placed_at, origin, text
    )


def _is_money(amount: Decimal) -> bool:
    """Whether two decimals hold it exactly. Checks the range first: exponents may be huge."""
    try:
        return 0 <= amount <= _MAX_AMOUNT and amount.quantize(_CENT) == amount
    except decimal.InvalidOperation:  # NaN
        return False


def _stretch(prev: str, last: str) -> Stretch:
    """Raises UndecodableError for ids that do not parse, run backwards or exceed a bigint."""
    try:
        stretch = Stretch(OutboxId.parse(prev), OutboxId.parse(last))
    except ValueError as error:
        raise UndecodableError(f"not a batch of events: {error}") from error
    if not stretch.prev < stretch.last or max(*stretch.prev, *stretch.last) > MAX_BIGINT:
        raise UndecodableError(f"not a batch of events: from {prev} to {last}")
    return stretch


def _from_the_future(stretch: Stretch, published_s: float | None) -> str | None:
    """Says so if it ends long after it was published. Ids of a Redis whose clock was set back are
    ahead too, so this alone condemns no batch.
    """
    if published_s is None:
        return None
    ahead_s = stretch.last.ms / 1000 - published_s
    if ahead_s <= MAX_AHEAD_S:
        return None
    return f"the watermark does not pass it: it ends {ahead_s:.0f} s after it was published"


def _bad_event(raw: msgspec.Raw, partition: str, error: UndecodableError) -> DeadLetter:
    """Keeps a valid item, seq and id, by which the audit accounts for the event."""
    try:
        facts = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        facts = {}
    item_id, seq, event_id = (facts.get(name) for name in ("item_id", "seq", "event_id"))
    return DeadLetter(
        Reason.BAD_EVENT,
        bytes(raw),
        _sentence(error),
        partition=partition,
        item_id=item_id if isinstance(item_id, str) and is_identifier(item_id) else None,
        seq=seq if type(seq) is int and 0 < seq <= MAX_BIGINT else None,
        event_id=event_id if isinstance(event_id, str) and _UUID.fullmatch(event_id) else None,
    )


def _sentence(error: UndecodableError) -> str:
    return "; ".join([str(error), *getattr(error, "__notes__", [])])
