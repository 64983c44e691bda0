"""Events as the outbox and JetStream hold them, and the batches that carry them.

An event's JSON is built once: the API writes its head, and the step that accepts the bid
(place_bid.lua or the optimistic strategy) its tail. The relay and JetStream pass these bytes on
unread. Ids need no escaping (``pkg.auction.ids``).
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec

from pkg.auction.bid import Bid, Strategy
from pkg.auction.money import text_from_cents
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import NO_PARTITION

VERSION = 1
KINDS = frozenset({"bid"})
MAX_BATCH_EVENTS = 500
MAX_BATCH_BYTES = 512 * 1024
_SHOWN = 40  # characters of an unknown kind
MAX_EPOCH_AHEAD_US = 365 * 24 * 3600 * 10**6
_Version: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
EpochNumber: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
"""Check it with ``is_credible_epoch``."""


class BidEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """One accepted bid. Amounts have two decimals; the timestamp is RFC 3339 with microseconds."""

    kind: Literal["bid"]
    event_id: str
    item_id: str
    bid_id: str
    user_id: str
    strategy: Strategy
    amount: Decimal
    previous_bid: Decimal
    timestamp: str
    seq: int


class Batch(msgspec.Struct, frozen=True):
    """A message of the stream. ``prev`` and ``last`` chain a partition's batches without gaps.

    Unknown fields are ignored, of events too: a release may add some without a new ``v``.

    ``events`` are in the outbox's order and undecoded: one bad event must not hide the others.
    """

    v: _Version
    partition: str
    prev: str
    last: str
    events: list[msgspec.Raw]
    epoch: EpochNumber = 0
    """The Redis history that published it (``pkg.stores.epochs``); 0 if its relay knew of none."""


class Watermark(msgspec.Struct, frozen=True, omit_defaults=True):
    """The archive has every event of the partition up to and including outbox id ``last``."""

    partition: str
    last: str
    epoch: EpochNumber = 0
    prev: None = None
    events: None = None
    """A batch has these: published on a watermark's subject, it must not be taken for one."""


class AnnouncedWatermark(NamedTuple):
    partition: str
    last: OutboxId
    epoch: int = 0
    """The newest epoch that the archive knows of; 0 if it knows of none. May not be credible."""


class ArchiveState(NamedTuple):
    """What an archive says of itself, besides its watermarks."""

    empty: bool
    """It holds neither a bid nor a dead letter."""
    system: str | None = None
    """The system that it belongs to, if it knows (``pkg.stores.system``)."""


class _ArchiveState(msgspec.Struct, frozen=True):
    """Looks like a watermark to the release that knew only these."""

    partition: str
    last: str
    empty: bool = True
    """An archive of that release announced itself only while it was empty."""
    system: str | None = None


class UndecodableError(ValueError):
    """The bytes are not a batch, event or watermark of a known version. None of it was used."""


class UnknownVersionError(UndecodableError):
    """A newer program wrote it: the ``v`` or a ``kind`` is unknown. None of it was used."""

    def __init__(self, what: str) -> None:
        """``what`` is a version or a kind."""
        super().__init__(f"events of {what}")


class _AnyVersion(msgspec.Struct, frozen=True):
    """The one field that no version may change."""

    v: _Version


class _AnyKind(msgspec.Struct, frozen=True):
    """The one field that no kind may change."""

    kind: str


class _End(msgspec.Struct, frozen=True):
    last: str
    epoch: EpochNumber = 0


_decode_batch = msgspec.json.Decoder(Batch).decode
_decode_version = msgspec.json.Decoder(_AnyVersion).decode
_decode_kind = msgspec.json.Decoder(_AnyKind).decode
_decode_end = msgspec.json.Decoder(_End).decode
_decode_event = msgspec.json.Decoder(BidEvent).decode
_decode_watermark = msgspec.json.Decoder(Watermark).decode
_decode_archive_state = msgspec.json.Decoder(_ArchiveState).decode


def event_head(bid: Bid, strategy: Strategy) -> bytes:
    """The part of an event's JSON that is known before the bid is accepted."""
    return (
        f'{{"kind":"bid","event_id":"{bid.event_id}","item_id":"{bid.item_id}",'
        f'"bid_id":"{bid.bid_id}","user_id":"{bid.user_id}","strategy":"{strategy.value}",'
        f'"amount":{text_from_cents(bid.amount_cents)}'
    ).encode()


def event_tail(*, previous_cents: int, timestamp: str, seq: int) -> bytes:
    """The rest, known once the bid is accepted. place_bid.lua writes the same bytes."""
    return (
        f',"previous_bid":{text_from_cents(previous_cents)},"timestamp":"{timestamp}","seq":{seq}}}'
    ).encode()


def redis_timestamp(seconds: int, microseconds: int) -> str:
    """Redis TIME as RFC 3339 in UTC with microseconds."""
    return f"{_second(seconds)}.{microseconds:06d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def encode_batch(
    partition: str, *, prev: OutboxId, last: OutboxId, events: Sequence[bytes], epoch: int = 0
) -> bytes:
    """Joins the JSON of events into one message, without parsing it."""
    history = f'"epoch":{epoch},' if epoch else ""
    head = (
        f'{{"v":{VERSION},"partition":"{partition}",{history}"prev":"{prev}","last":"{last}",'
        '"events":['
    )
    return b"".join((head.encode(), b",".join(events), b"]}"))


def is_credible_epoch(number: int) -> bool:
    """Whether an opening can have taken it: it is a time in microseconds (``pkg.stores.epochs``),
    and no clock is a year ahead. No opening could go far above the number that anybody publishes.
    """
    return number <= time.time_ns() // 1000 + MAX_EPOCH_AHEAD_US


def decode_batch(data: bytes) -> Batch:
    """Reads a message of the stream.

    Raises:
        UnknownVersionError: its version is unknown, whatever else it holds.
        UndecodableError: not a batch, invalid outbox ids, or an epoch that is not credible.
    """
    try:
        batch = _decode_batch(data)
        OutboxId.parse(batch.prev)
        OutboxId.parse(batch.last)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        _refuse_version(data)
        raise UndecodableError(f"not a batch of events: {error}") from error
    if batch.v != VERSION:
        raise UnknownVersionError(f"version {batch.v}")
    if not is_credible_epoch(batch.epoch):
        raise UndecodableError(f"not a batch of events: no opening took epoch {batch.epoch}")
    return batch


class BatchEnd(NamedTuple):
    last: OutboxId
    epoch: int = 0
    event: bytes | None = None
    """The event with that id, empty if the batch lacks it; None if there need not be one, as in a
    barrier, or if a newer program wrote it.
    """


def end_of_batch(data: bytes) -> BatchEnd:
    """The outbox id that a message ends with, and its epoch, whatever its version.

    Raises:
        UnknownVersionError: its version keeps no such id.
        UndecodableError: not a batch.
    """
    try:
        batch = decode_batch(data)
        return BatchEnd(OutboxId.parse(batch.last), batch.epoch, _last_event(batch))
    except UnknownVersionError as unknown:
        try:
            end = _decode_end(data)
            last = OutboxId.parse(end.last)
        except (msgspec.MsgspecError, ValueError):
            raise unknown from None
        if not is_credible_epoch(end.epoch):
            raise unknown from None
        return BatchEnd(last, end.epoch)


def _last_event(batch: Batch) -> bytes | None:
    """As ``BatchEnd.event``."""
    if not batch.events:
        return None if batch.prev == batch.last else b""
    try:
        _refuse_kind(batch.events[-1])
    except UnknownVersionError:
        return None
    return bytes(batch.events[-1])


def decode_event(data: bytes | msgspec.Raw) -> BidEvent:
    """Reads one event of a batch.

    Raises:
        UnknownVersionError: its kind is unknown, whatever else it holds.
        UndecodableError: not an event.
    """
    try:
        return _decode_event(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        _refuse_kind(data)
        raise UndecodableError(f"not an event: {error}") from error


def _refuse_version(data: bytes) -> None:
    try:
        v = _decode_version(data).v
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
    if v != VERSION:
        raise UnknownVersionError(f"version {v}")


def _refuse_kind(data: bytes | msgspec.Raw) -> None:
    try:
        kind = _decode_kind(data).kind
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
    if kind not in KINDS:
        raise UnknownVersionError(f"kind {kind[:_SHOWN]!r}")


def decode_watermark(data: bytes) -> AnnouncedWatermark:
    """Reads a watermark: the partition and its last archived outbox id.

    Raises:
        UndecodableError: not a watermark.
    """
    try:
        mark = _decode_watermark(data)
        return AnnouncedWatermark(mark.partition, OutboxId.parse(mark.last), mark.epoch)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UndecodableError(f"not a watermark: {error}") from error


def decode_archive_state(data: bytes) -> ArchiveState:
    """Reads what an archive says of itself.

    Raises:
        UndecodableError: it is something else.
    """
    try:
        state = _decode_archive_state(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UndecodableError(f"not the state of an archive: {error}") from error
    return ArchiveState(state.empty, state.system)


def encode_archive_state(state: ArchiveState) -> bytes:
    return msgspec.json.encode(
        _ArchiveState(NO_PARTITION, str(BEGINNING), empty=state.empty, system=state.system)
    )


def encode_watermark(partition: str, last: OutboxId, epoch: int = 0) -> bytes:
    return msgspec.json.encode(Watermark(partition=partition, last=str(last), epoch=epoch))
