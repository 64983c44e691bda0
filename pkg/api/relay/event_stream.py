"""The relay's side of JetStream: a partition's last message, and fenced publishing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from nats.errors import Error as NatsError
from nats.js.api import Header, StreamConfig
from nats.js.errors import APIError, NotFoundError

from pkg.auction.events import UndecodableError, UnknownVersionError, end_of_batch
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import ARCHIVE_CONSUMER, STREAM, SUPERSEDED, events_subject
from pkg.runtime import logs
from pkg.runtime.nats_link import NatsLink
from pkg.stores.stream import ensure_stream

PUBLISH_TIMEOUT_S = 5.0
ROOM_MARK = 0.75
"""Share of STREAM_MAX_BYTES above which archived messages are purged early."""
NATS_ERRORS = (NatsError, OSError, TimeoutError)

log = logs.get("relay")


class StreamUnavailableError(Exception):
    """NATS is away or refused. A publish may have been stored: read the last message to know."""


class FencedError(StreamUnavailableError):
    """Another relay published first. Nothing was stored."""


class Tail(NamedTuple):
    """A subject's last message: its stream sequence, the outbox id it ends with, and its epoch."""

    sequence: int = 0
    last: OutboxId = BEGINNING
    epoch: int = 0


class NewerStreamError(StreamUnavailableError):
    """The last message is of a version without a readable end. Only a newer relay can go on."""


@dataclass(frozen=True, slots=True)
class Room:
    """How full the stream is, and how many messages were purged to make room."""

    used_bytes: int
    purged: int = 0


class EventStream(Protocol):
    """What the relay needs of JetStream."""

    async def prepare(self) -> None:
        """Creates the stream if it is missing; updates it if its settings differ."""
        ...

    async def tail(self, partition: str) -> Tail:
        """The subject's last message; all zeros if there is none."""
        ...

    async def all_taken(self) -> bool:
        """Whether the archive's consumer has nothing pending and nothing unacknowledged."""
        ...

    async def make_room(self, partitions: Sequence[str]) -> Room:
        """Purges the older half of the archived messages once the stream is ``ROOM_MARK`` full,
        but never a partition's last message: the relay resumes after it.
        """
        ...

    async def publish(self, partition: str, batch: bytes, *, expected: int) -> int:
        """Stores the batch if the subject's last sequence is ``expected``; returns its own."""
        ...

    async def hand_over(self, batch: bytes) -> None:
        """Stores a batch of a superseded Redis, apart from every partition's history."""
        ...


class JetStreamEvents:
    """EventStream over a NATS connection. Every method raises StreamUnavailableError."""

    def __init__(self, link: NatsLink, config: StreamConfig) -> None:
        self._link = link
        self._config = config
        self._prepared = False

    async def prepare(self) -> None:
        try:
            # Updated once per process: during a rolling restart, replicas with old and new settings
            # would keep undoing each other's update.
            await ensure_stream(self._link.jetstream, self._config, update=not self._prepared)
            self._prepared = True
        except NATS_ERRORS as error:
            raise StreamUnavailableError(str(error)) from error

    async def tail(self, partition: str) -> Tail:
        try:
            message = await self._link.jetstream.get_last_msg(STREAM, events_subject(partition))
        except NotFoundError as error:
            if error.err_code == _STREAM_NOT_FOUND:
                raise StreamUnavailableError(str(error)) from error
            return Tail()
        except NATS_ERRORS as error:
            raise StreamUnavailableError(str(error)) from error
        sequence = message.seq or 0
        try:
            end = end_of_batch(message.data or b"")
            return Tail(sequence, end.last, end.epoch)
        except UnknownVersionError as error:
            # Starting from the oldest entry would let the watermark pass what only JetStream holds.
            raise NewerStreamError(f"the stream holds {error}: roll the api-gateway") from error
        except UndecodableError as error:
            # Not ours. Everything is published again; archive and viewers drop duplicates.
            log.warning("the last message is not a batch", partition=partition, why=str(error))
            return Tail(sequence)

    async def all_taken(self) -> bool:
        try:
            info = await self._link.jetstream.consumer_info(STREAM, ARCHIVE_CONSUMER)
        except NotFoundError:
            return False  # no archive has run yet; it will start with the oldest message
        except NATS_ERRORS as error:
            raise StreamUnavailableError(str(error)) from error
        return not info.num_pending and not info.num_ack_pending

    async def make_room(self, partitions: Sequence[str]) -> Room:
        jetstream = self._link.jetstream
        try:
            before = await jetstream.stream_info(STREAM)
            limit = before.config.max_bytes or 0
            if limit <= 0 or before.state.bytes < limit * ROOM_MARK:
                return Room(before.state.bytes)
            # Acknowledged means committed: PostgreSQL has everything up to this sequence.
            consumer = await jetstream.consumer_info(STREAM, ARCHIVE_CONSUMER)
            archived_to = consumer.ack_floor.stream_seq if consumer.ack_floor else 0
            first = before.state.first_seq
            if archived_to < first:
                return Room(before.state.bytes)
            below = first + (archived_to - first) // 2 + 1
            for partition in partitions:
                tail = await self.tail(partition)
                await jetstream.purge_stream(
                    STREAM, seq=min(below, tail.sequence), subject=events_subject(partition)
                )
            after = await jetstream.stream_info(STREAM)
        except NotFoundError:
            return Room(0)  # no archive, or no stream yet
        except (APIError, *NATS_ERRORS) as error:
            raise StreamUnavailableError(str(error)) from error
        purged = max(0, before.state.messages - after.state.messages)
        log.info("purged archived messages", messages=purged, bytes=after.state.bytes)
        return Room(after.state.bytes, purged)

    async def publish(self, partition: str, batch: bytes, *, expected: int) -> int:
        try:
            stored = await self._link.jetstream.publish(
                events_subject(partition),
                batch,
                timeout=PUBLISH_TIMEOUT_S,
                headers={Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(expected)},
            )
        except (APIError, *NATS_ERRORS) as error:
            if isinstance(error, APIError) and error.err_code == _WRONG_LAST_SEQUENCE:
                raise FencedError(str(error)) from error
            raise StreamUnavailableError(str(error)) from error
        return stored.seq

    async def hand_over(self, batch: bytes) -> None:
        try:
            await self._link.jetstream.publish(
                events_subject(SUPERSEDED), batch, timeout=PUBLISH_TIMEOUT_S
            )
        except (APIError, *NATS_ERRORS) as error:
            raise StreamUnavailableError(str(error)) from error


_STREAM_NOT_FOUND = 10059
_WRONG_LAST_SEQUENCE = 10071
