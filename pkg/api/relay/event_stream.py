"""The relay's side of JetStream: a partition's last message, and fenced publishing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Protocol

from nats.errors import Error as NatsError
from nats.js.api import Header, RawStreamMsg, StreamConfig
from nats.js.errors import APIError, NotFoundError

from pkg.auction.events import UnknownVersionError
from pkg.auction.subjects import (
    ARCHIVE_CONSUMER,
    EVENT_SUBJECTS,
    STREAM,
    SUPERSEDED,
    events_subject,
)
from pkg.runtime import logs
from pkg.runtime.nats_link import NatsLink
from pkg.stores.barrier import PUBLISH_TIMEOUT_S, Tail, read_tail
from pkg.stores.stream import SETTINGS, ensure_stream

ROOM_MARK = 0.75
"""Share of STREAM_MAX_BYTES above which archived messages are purged early."""
OPENINGS_BYTES = 4096
"""By how much a full stream is widened: room for a dozen openings."""
WIDEST = 1 + 1 / 64
"""Share of STREAM_MAX_BYTES up to which it is."""
LOOKS = 100
"""How often within STREAM_KEEP_S is looked for old messages."""
MOST_SUBJECTS = 100
"""Subjects purged at a time. There are so many only if somebody else publishes."""
NATS_ERRORS = (NatsError, OSError, TimeoutError)

log = logs.get("relay")


class StreamUnavailableError(Exception):
    """NATS is away or refused. A publish may have been stored: read the last message to know."""


class FencedError(StreamUnavailableError):
    """Another relay published first. Nothing was stored."""


class StreamFullError(StreamUnavailableError):
    """The stream has reached its maximum size. Nothing was stored; it can be read."""


class NewerStreamError(StreamUnavailableError):
    """The last message is of a version without a readable end. Only a newer relay can go on."""


@dataclass(frozen=True, slots=True)
class Room:
    """How full the stream is, and how many messages were purged to make room."""

    used_bytes: int
    purged: int = 0


class EventStream(Protocol):
    """What the relay needs of JetStream."""

    async def prepare(self) -> str | None:
        """Creates the stream if it is missing; updates it if its settings differ. Returns the
        system that it belongs to, if that is known.
        """
        ...

    async def tail(self, partition: str) -> Tail:
        """The subject's last message; all zeros if there is none."""
        ...

    async def all_taken(self) -> bool:
        """Whether the archive's consumer has nothing pending and nothing unacknowledged."""
        ...

    async def make_room(self, partitions: Sequence[str]) -> Room:
        """Purges archived messages that are old, and the older half of all that are archived once
        the stream is ``ROOM_MARK`` full, but never a partition's last message: the relay resumes
        after it. What is not archived stays.
        """
        ...

    async def widen(self) -> None:
        """Lets a full stream take a few openings more. Raises StreamFullError at ``WIDEST``."""
        ...

    async def publish(self, partition: str, batch: bytes, *, expected: int) -> int:
        """Stores the batch if the subject's last sequence is ``expected``; returns its own."""
        ...

    async def hand_over(self, batch: bytes) -> None:
        """Stores a batch of a superseded Redis, apart from every partition's history."""
        ...


class JetStreamEvents:
    """EventStream over a NATS connection. Every method raises StreamUnavailableError.

    Archived messages are kept for ``keep_s``.
    """

    def __init__(self, link: NatsLink, config: StreamConfig, *, keep_s: float) -> None:
        self._link = link
        self._config = config
        self._keep_s = keep_s
        self._aged_at = float("-inf")
        self._prepared = False

    async def prepare(self) -> str | None:
        try:
            # Settings are corrected once per process: during a rolling restart, replicas with old
            # and new ones would keep undoing each other's update. The age is none: a service of the
            # release before may make a stream that drops what is not archived.
            correct = ("max_age",) if self._prepared else SETTINGS
            system = await ensure_stream(self._link.jetstream, self._config, correct=correct)
            self._prepared = True
        except NATS_ERRORS as error:
            raise StreamUnavailableError(str(error)) from error
        return system

    async def tail(self, partition: str) -> Tail:
        try:
            return await read_tail(self._link.jetstream, partition)
        except UnknownVersionError as error:
            # Starting from the oldest entry would let the watermark pass what only JetStream holds.
            raise NewerStreamError(f"the stream holds {error}: roll the api-gateway") from error
        except NATS_ERRORS as error:
            raise StreamUnavailableError(str(error)) from error

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
            first, limit = before.state.first_seq, before.config.max_bytes or 0
            archived_to = await self._archived_to()
            if archived_to < first:
                return Room(before.state.bytes)
            below = first
            if 0 < limit * ROOM_MARK <= before.state.bytes:
                below += (archived_to - first) // 2 + 1
            below = max(below, await self._first_young(first, archived_to))
            if below == first:
                return Room(before.state.bytes)
            await self._purge(partitions, below)
            after = await jetstream.stream_info(STREAM)
        except NotFoundError:
            return Room(0)  # no stream yet
        except (APIError, *NATS_ERRORS) as error:
            raise StreamUnavailableError(str(error)) from error
        purged = max(0, before.state.messages - after.state.messages)
        if purged:
            log.info("purged archived messages", messages=purged, bytes=after.state.bytes)
        return Room(after.state.bytes, purged)

    async def _archived_to(self) -> int:
        """The sequence up to which every message is acknowledged, which means committed."""
        try:
            consumer = await self._link.jetstream.consumer_info(STREAM, ARCHIVE_CONSUMER)
        except NotFoundError:
            return 0  # no archive yet
        return consumer.ack_floor.stream_seq if consumer.ack_floor else 0

    async def _first_young(self, first: int, archived_to: int) -> int:
        """The sequence before which all are older than ``keep_s``, at most the one after
        ``archived_to``. By bisection; ``first`` if it is not yet time to look again.
        """
        now = asyncio.get_running_loop().time()
        if now - self._aged_at < self._keep_s / LOOKS:
            return first
        self._aged_at = now
        border = datetime.now(UTC) - timedelta(seconds=self._keep_s)
        low, high = first, archived_to + 1
        while low < high:
            middle = (low + high) // 2
            found = await self._next(middle)  # purged messages leave gaps
            if found is not None and found.time is not None and found.time < border:
                low = (found.seq or middle) + 1
            else:
                high = middle
        return min(low, archived_to + 1)

    async def _next(self, sequence: int) -> RawStreamMsg | None:
        try:
            return await self._link.jetstream.get_msg(STREAM, sequence, EVENT_SUBJECTS, next=True)
        except NotFoundError:
            return None

    async def _purge(self, partitions: Sequence[str], below: int) -> None:
        jetstream = self._link.jetstream
        resumed_after = {events_subject(name): name for name in partitions}
        found = await jetstream.stream_info(STREAM, subjects_filter=EVENT_SUBJECTS)
        for subject in islice(found.state.subjects or (), MOST_SUBJECTS):
            bound = below
            if subject in resumed_after:
                bound = min(below, (await self.tail(resumed_after[subject])).sequence)
            if bound:  # nats-py would take 0 for all of it
                await jetstream.purge_stream(STREAM, seq=bound, subject=subject)

    async def widen(self) -> None:
        try:
            info = await self._link.jetstream.stream_info(STREAM)
            wider = info.state.bytes + OPENINGS_BYTES
            if wider > (self._config.max_bytes or 0) * WIDEST:
                raise StreamFullError("full, and as wide as it may get")
            if wider > (info.config.max_bytes or 0):
                await self._link.jetstream.update_stream(info.config.evolve(max_bytes=wider))
                log.warning("the full stream was widened for an opening", max_bytes=wider)
        except (APIError, *NATS_ERRORS) as error:
            raise StreamUnavailableError(str(error)) from error

    async def publish(self, partition: str, batch: bytes, *, expected: int) -> int:
        try:
            stored = await self._link.jetstream.publish(
                events_subject(partition),
                batch,
                timeout=PUBLISH_TIMEOUT_S,
                headers={Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(expected)},
            )
        except (APIError, *NATS_ERRORS) as error:
            said = error.err_code if isinstance(error, APIError) else None
            if said == _WRONG_LAST_SEQUENCE:
                raise FencedError(str(error)) from error
            if said == _FULL:
                raise StreamFullError(str(error)) from error
            raise StreamUnavailableError(str(error)) from error
        return stored.seq

    async def hand_over(self, batch: bytes) -> None:
        try:
            await self._link.jetstream.publish(
                events_subject(SUPERSEDED), batch, timeout=PUBLISH_TIMEOUT_S
            )
        except (APIError, *NATS_ERRORS) as error:
            raise StreamUnavailableError(str(error)) from error


_WRONG_LAST_SEQUENCE = 10071
_FULL = 10077
