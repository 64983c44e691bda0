"""The relay's side of JetStream: what it holds last of a partition, and the fenced publish."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nats.errors import Error as NatsError
from nats.js.api import Header, StreamConfig
from nats.js.errors import APIError, NotFoundError

from pkg.auction.events import UndecodableError, decode_batch
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import ARCHIVE_CONSUMER, STREAM, events_subject
from pkg.runtime import logs
from pkg.runtime.nats_link import NatsLink
from pkg.stores.stream import ensure_stream

PUBLISH_TIMEOUT_S = 5.0
ROOM_MARK = 0.75
"""Share of STREAM_MAX_BYTES past which archived messages are removed before their time."""
NATS_ERRORS = (NatsError, OSError, TimeoutError)

log = logs.get("relay")


class StreamUnavailableError(Exception):
    """NATS is away or refused. Whether a publish was stored is not known: read what stands."""


class FencedError(StreamUnavailableError):
    """Somebody else published since. Nothing was stored."""


@dataclass(frozen=True, slots=True)
class Room:
    """How full the stream is, and how many messages were removed to make room."""

    used_bytes: int
    purged: int = 0


class EventStream(Protocol):
    """What the relay needs of JetStream."""

    async def prepare(self) -> None:
        """Makes the stream when it is missing, updates it when it differs."""
        ...

    async def last(self, partition: str) -> tuple[int, OutboxId]:
        """Stream sequence of the subject's last message and the outbox id it ends with; 0 and
        ``BEGINNING`` when there is none.
        """
        ...

    async def all_taken(self) -> bool:
        """Whether the archive's consumer has nothing to come and nothing unacknowledged."""
        ...

    async def make_room(self, partitions: Sequence[str]) -> Room:
        """Removes the older half of what the archive has, once the stream is filled to
        ``ROOM_MARK``; never the last message of a partition, which says where to go on.
        """
        ...

    async def publish(self, partition: str, batch: bytes, *, expected: int) -> int:
        """Stores the batch if the subject's last message is still ``expected``; its sequence."""
        ...


class JetStreamEvents:
    """EventStream over a NATS connection. Everything raises StreamUnavailableError."""

    def __init__(self, link: NatsLink, config: StreamConfig) -> None:
        self._link = link
        self._config = config
        self._prepared = False

    async def prepare(self) -> None:
        try:
            # One that differs is updated once a process: two that were set differently, as while
            # replicas are replaced, would change it to and fro.
            await ensure_stream(self._link.jetstream, self._config, update=not self._prepared)
            self._prepared = True
        except NATS_ERRORS as error:
            raise StreamUnavailableError(str(error)) from error

    async def last(self, partition: str) -> tuple[int, OutboxId]:
        try:
            message = await self._link.jetstream.get_last_msg(STREAM, events_subject(partition))
        except NotFoundError as error:
            if error.err_code == _STREAM_NOT_FOUND:
                raise StreamUnavailableError(str(error)) from error
            return 0, BEGINNING
        except NATS_ERRORS as error:
            raise StreamUnavailableError(str(error)) from error
        sequence = message.seq or 0
        try:
            return sequence, OutboxId.parse(decode_batch(message.data or b"").last)
        except UndecodableError as error:
            # Somebody else wrote into the stream. All is published again: the archive and the
            # viewers know what they have.
            log.warning("last message is no batch", partition=partition, why=str(error))
            return sequence, BEGINNING

    async def all_taken(self) -> bool:
        try:
            info = await self._link.jetstream.consumer_info(STREAM, ARCHIVE_CONSUMER)
        except NotFoundError:
            return False  # no archive ever ran here: it will begin with the oldest message
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
            # Acknowledged means committed, so below this sequence PostgreSQL has everything.
            consumer = await jetstream.consumer_info(STREAM, ARCHIVE_CONSUMER)
            archived_to = consumer.ack_floor.stream_seq if consumer.ack_floor else 0
            first = before.state.first_seq
            if archived_to < first:
                return Room(before.state.bytes)
            below = first + (archived_to - first) // 2 + 1
            for partition in partitions:
                last, _ = await self.last(partition)
                await jetstream.purge_stream(
                    STREAM, seq=min(below, last), subject=events_subject(partition)
                )
            after = await jetstream.stream_info(STREAM)
        except NotFoundError:
            return Room(0)  # no archive, or no stream yet
        except (APIError, *NATS_ERRORS) as error:
            raise StreamUnavailableError(str(error)) from error
        purged = max(0, before.state.messages - after.state.messages)
        log.info("archived messages left the stream", messages=purged, bytes=after.state.bytes)
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


_STREAM_NOT_FOUND = 10059
_WRONG_LAST_SEQUENCE = 10071
