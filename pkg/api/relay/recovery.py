"""Opens Redis for bids. If its run id is new or not recorded, lost bids are put back first.

Each partition's ``meta`` records the run id of the server that the system was last open on. A
restart or a fail-over changes the server's run id, FLUSHALL deletes our record of it. Bids are then
answered 503 until the relaying process has recovered Redis and recorded the new run id.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import nats.errors
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.api.errors import OtherSystem, RedisRecovering, RedisSuperseded, RedisUnavailable
from pkg.api.relay.event_stream import (
    EventStream,
    NewerStreamError,
    StreamFullError,
    StreamUnavailableError,
)
from pkg.api.relay.membership import Membership
from pkg.api.relay.opening import all_again, publish_opening
from pkg.api.relay.outbox import record_retired
from pkg.api.relay.recovery_counts import RecoveryCounts
from pkg.auction.events import ArchiveState, UnknownVersionError
from pkg.auction.keys import outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.runtime import logs
from pkg.runtime.nats_link import NatsLink
from pkg.stores.barrier import Tail
from pkg.stores.epochs import Epoch, read_epoch, record_epoch, supersede, take_epoch
from pkg.stores.opening import Opening, open_partitions, read_opening
from pkg.stores.putting_back import PuttingBack
from pkg.stores.redis_meta import NotOpenError
from pkg.stores.stream_tail import batches_after, begins_behind
from pkg.stores.system import never_held_a_bid

_NATS_ERRORS = (StreamUnavailableError, nats.errors.Error, OSError, TimeoutError)

log = logs.get("recovery")


@dataclass(frozen=True, slots=True)
class _Closed:
    """A server found closed, and since when (event loop's time)."""

    run_id: str
    since: float


class Recovery:
    """Run by the relay under its lease: one process at a time recovers.

    ``epochs`` are those of this Redis, by partition, as of the last ``ensure_open``.

    Args:
        names: the partitions that this server holds. partitions: how many there are in all.
        wait_s: how long to wait for NATS. An empty Redis waits for it, and for the archive, without
            a limit.
        hearing_s: how long to wait for the archive's watermarks otherwise; they are announced every
            second. 0: never wait for them.
    """

    epochs: Mapping[str, Epoch] = MappingProxyType({})

    def __init__(
        self,
        redis: Redis,
        link: NatsLink,
        stream: EventStream,
        *,
        names: Sequence[str],
        partitions: int,
        wait_s: float,
        hearing_s: float,
        counts: RecoveryCounts,
    ) -> None:
        self._redis = redis
        self._link = link
        self._stream = stream
        self._partitions = partitions
        self._names = tuple(names)
        self._wait_s = wait_s
        self._hearing_s = hearing_s
        self._counts = counts
        self._closed: _Closed | None = None
        self.system = Membership(redis, link, self._names, counts)
        self._taken: dict[str, Epoch] = {}
        """Epochs taken since Redis was found closed."""
        self._barriers: dict[str, int] = {}
        """Stream sequences of the barriers published since Redis was found closed."""

    def forget(self) -> None:
        """Drops what was observed: it is outdated, or another process has the lease."""
        self._closed = None
        self._barriers.clear()
        self._taken.clear()
        self._counts.waiting_for_restore = self._counts.waiting_for_archive = False

    async def ensure_open(
        self,
        archived: Mapping[str, OutboxId],
        *,
        archive: ArchiveState | None = None,
        met: Mapping[str, OutboxId] | None = None,
    ) -> bool:
        """Opens Redis for bids if it is closed. Returns True if it had to.

        ``archived`` holds the announced watermarks, ``met`` the highest outbox ids that this
        process has seen, both by partition. ``archive`` is what the archive said of itself, if
        it was heard.

        Raises:
            RedisRecovering: not yet; call again. RedisUnavailable: Redis is away.
            StreamUnavailableError: Redis is empty and NATS is away; another process may reach it.
            RedisSuperseded: another Redis was opened after this one.
            OtherSystem: Redis and the stream belong to different systems.
        """
        try:
            found = await read_opening(self._redis, self._names)
            run_id, self.epochs, self.system.id = found.run_id, found.epochs, found.system
            if found.superseded:
                self._counts.superseded = True
                raise RedisSuperseded
            self._counts.superseded = False
            if found.open:
                self.forget()
                return await self._take_epochs_where_none_are()
            if self._closed is None or self._closed.run_id != run_id:
                self._closed = _Closed(run_id, asyncio.get_running_loop().time())
                self._taken.clear()
                self._barriers.clear()  # a relay may have read this server's outbox since
                log.warning("Redis is not the server we were open on", run_id=run_id)
            await self._make_whole(found, archived, archive)
            for name, behind in (met or {}).items():
                # Without the stream, new ids could be below its last one and never be relayed.
                await PuttingBack(self._redis).move_outbox(name, behind)
            await open_partitions(self._redis, self._names, run_id, partitions=self._partitions)
        except (RedisError, OSError, NotOpenError) as error:
            raise RedisUnavailable from error
        self._counts.recoveries += 1
        self.forget()
        log.info("Redis is open for bids", run_id=run_id)
        return True

    async def look(self) -> None:
        """Reads the epochs and the system of this Redis, open or not. Raises RedisUnavailable."""
        try:
            found = await read_opening(self._redis, self._names)
        except (RedisError, OSError, NotOpenError) as error:
            raise RedisUnavailable from error
        self.epochs, self.system.id = found.epochs, found.system

    async def _make_whole(
        self,
        opening: Opening,
        archived: Mapping[str, OutboxId],
        archive: ArchiveState | None,
    ) -> None:
        """Returns once nothing is left to put back; raises what ``ensure_open`` does."""
        if opening.emptied and any(mark > BEGINNING for mark in archived.values()):
            self._require_restore("Redis is empty and the archive is not")
        try:
            if not self._link.connected:
                raise nats.errors.ConnectionClosedError
            found = await self._stream.prepare()
            await self.system.refuse_other(found)
            if opening.emptied:
                await self._require_nothing_lost(found, archive)
                for name in self._names:
                    # The stream may hold openings of this Redis, from before it was emptied.
                    await self._take_epoch(name, after=(await self._stream.tail(name)).epoch)
            else:
                self._hear(archived, archive)
                await self._put_back_tails(archived)
        except (UnknownVersionError, NewerStreamError) as error:
            # Opening without what it holds could accept bids that contradict it.
            raise RedisRecovering(f"only a newer api-gateway can recover: {error}") from error
        except StreamFullError as error:
            raise RedisRecovering(f"the stream takes no opening: {error}") from error
        except _NATS_ERRORS as error:
            if opening.of_other_system:
                raise OtherSystem from error
            self._without_stream(error, emptied=opening.emptied)
            await self._take_epochs()
            return
        try:
            await self.system.join(found, archive)
        except _NATS_ERRORS as error:
            raise RedisRecovering from error

    async def supersede(self, by: int) -> None:
        """Closes this Redis for bids: the stream goes on with another one's history.

        ``epochs`` may be outdated: while this process recovered, the lease may have gone to another
        one, which opened this very Redis. It recorded its epoch before it published it.

        Raises:
            RedisUnavailable: Redis is away; call again. RedisSuperseded: it is closed.
            RedisRecovering: the epoch is this Redis' own; call ``ensure_open`` again.
        """
        try:
            if any([(await read_epoch(self._redis, name)).follows(by) for name in self._names]):
                raise RedisRecovering
            log.error("another Redis was opened after this one; bids are refused now", epoch=by)
            await supersede(self._redis, list(self._names), by=by)
        except (RedisError, OSError) as error:
            raise RedisUnavailable from error
        self._counts.superseded = True
        raise RedisSuperseded

    async def overtake(self, partition: str, number: int) -> Epoch:
        """Takes an epoch above one that the archive knows of, though the stream does not.

        Raises RedisUnavailable: none may have been taken; call again.
        """
        try:
            epoch = (await read_epoch(self._redis, partition)).above(number)
            await record_epoch(self._redis, partition, epoch)
        except (RedisError, OSError) as error:
            raise RedisUnavailable from error
        self.epochs = {**self.epochs, partition: epoch}
        return epoch

    async def _take_epochs_where_none_are(self) -> bool:
        """A Redis that the previous release opened gets its epochs while it is open."""
        lacking = [name for name, epoch in self.epochs.items() if not epoch.number]
        await self._take_epochs(lacking)
        return bool(lacking)

    async def _take_epochs(self, names: Sequence[str] | None = None) -> None:
        """The relay publishes them before its next batch."""
        for name in self._names if names is None else names:
            await self._take_epoch(name, after=0)

    async def _take_epoch(self, name: str, *, after: int) -> Epoch:
        taken = self._taken.get(name)
        if taken is not None and taken.number > after:
            return taken  # an earlier try was fenced: it counts as one opening
        epoch = await take_epoch(self._redis, name, after=after)
        self._taken[name] = epoch
        self.epochs = {**self.epochs, name: epoch}
        return epoch

    def _hear(self, archived: Mapping[str, OutboxId], archive: ArchiveState | None) -> None:
        """Raises RedisRecovering until the archive has announced itself or the wait is over."""
        if archived or archive is not None or not self._hearing_s:
            return
        now = asyncio.get_running_loop().time()
        if now - max(self._since, self._link.up_since) < self._hearing_s:
            raise RedisRecovering

    async def _put_back_tails(self, archived: Mapping[str, OutboxId]) -> None:
        putting_back = PuttingBack(self._redis)
        await self._stream.make_room(self._names)
        for name in self._names:
            end = await self._outbox_end(name)
            heard = archived.get(name, BEGINNING)
            tail = await self._stream.tail(name)
            await self._require_own_past(name, tail)
            stream_end = await self._stream_end(name, tail, after=end)
            await self._fence_out_stale_relays(name, tail)
            if heard > max(end, stream_end) or await begins_behind(
                self._link.jetstream, name, end, archived_to=heard
            ):
                # The bids in between are in the archive only, or lost.
                self._require_restore(
                    "Redis lost bids that the stream no longer holds", partition=name
                )
            tally = await putting_back.stream_tail(self._link.jetstream, name, end)
            await putting_back.move_outbox(name, max(heard, stream_end))
            if stream_end > max(end, heard):
                first = end.next() if end > BEGINNING else stream_end
                await record_retired(
                    self._redis, name, first, through=stream_end, count=tally.put_back
                )
            self._counts.put_back += tally.put_back
            self._counts.refused += tally.refused
            if tally.put_back or tally.refused:
                log.warning(
                    "read back from the stream",
                    partition=name,
                    put_back=tally.put_back,
                    refused=tally.refused,
                )

    async def _stream_end(self, partition: str, tail: Tail, *, after: OutboxId) -> OutboxId:
        """The highest id of those after ``after`` in the stream. An opening by which the relay
        starts at the beginning does not tell it.
        """
        if tail.last > BEGINNING or not tail.sequence:
            return tail.last
        ends = [
            OutboxId.parse(batch.last)
            async for batch in batches_after(self._link.jetstream, partition, after)
        ]
        return max(ends, default=BEGINNING)

    async def _fence_out_stale_relays(self, partition: str, tail: Tail) -> None:
        """Takes a new epoch and publishes its barrier, once a closing."""
        if tail.sequence and self._barriers.get(partition) == tail.sequence:
            return
        if tail.epoch not in {0, self.epochs[partition].number}:
            tail = all_again(tail)
        epoch = await self._take_epoch(partition, after=tail.epoch)
        self._barriers[partition] = await publish_opening(self._stream, partition, tail, epoch)

    async def _require_own_past(self, partition: str, tail: Tail) -> None:
        """Raises RedisSuperseded if bids were accepted here that the stream's history lacks.

        A newer epoch in the stream is one that this Redis forgot, or another Redis'. In the latter
        case our newest entry tells: the other's relay has published beyond it, but not it.
        """
        if self.epochs[partition].follows(tail.epoch):
            return
        newest: Any = await self._redis.xrevrange(outbox_key(partition), count=1)
        if not newest:
            return
        entry_id, fields = newest[0]
        at = OutboxId.parse(entry_id)
        if at > tail.last or await self._is_in_stream(partition, at, fields[b"e"]):
            return
        await self.supersede(tail.epoch)

    async def _is_in_stream(self, partition: str, at: OutboxId, event: bytes) -> bool:
        before = OutboxId(at.ms, at.n - 1) if at.n else OutboxId(at.ms - 1, 2**63)
        async for batch in batches_after(self._link.jetstream, partition, before):
            if OutboxId.parse(batch.prev) >= at:
                break
            if OutboxId.parse(batch.last) < at:
                continue
            if any(bytes(raw) == event for raw in batch.events):
                return True
        return False

    async def _require_nothing_lost(self, found: str | None, archive: ArchiveState | None) -> None:
        """Raises RedisRecovering for an empty Redis unless the archive says that it is empty too,
        the stream never held a bid, and neither names a system that the other lacks: a stream that
        was lost and made anew holds no bid either.
        """
        if not await never_held_a_bid(self._link.jetstream):
            self._require_restore("Redis is empty and the stream was not")
        if archive is None:
            if not self._counts.waiting_for_archive:
                log.warning(
                    "Redis is empty; it opens once the archive says that it is empty too: start "
                    "the archival-worker, or declare Redis new (restore --empty)"
                )
            self._counts.waiting_for_archive = True
            raise RedisRecovering
        self._counts.waiting_for_archive = False
        if not archive.empty:
            self._require_restore("Redis is empty and the archive is not")
        if archive.system is not None and archive.system != found:
            self._require_restore("Redis is empty and the archive's system has lost its stream")

    def _require_restore(self, why: str, **about: str) -> None:
        if not self._counts.waiting_for_restore:
            log.error("bids are refused until restore has run", why=why, **about)
        self._counts.waiting_for_restore = True
        raise RedisRecovering

    @property
    def _since(self) -> float:
        return self._closed.since if self._closed else 0.0

    async def _outbox_end(self, partition: str) -> OutboxId:
        if not await self._redis.exists(outbox_key(partition)):
            return BEGINNING
        info = await self._redis.xinfo_stream(outbox_key(partition))
        return OutboxId.parse(info["last-generated-id"])

    def _without_stream(self, error: Exception, *, emptied: bool) -> None:
        """Raises RedisRecovering until ``wait_s`` is over; then Redis opens without the stream.

        An empty Redis never does, as the stream may hold all that it lost: StreamUnavailableError,
        so that a process which reaches NATS gets the lease.
        """
        if emptied:
            raise StreamUnavailableError(str(error) or type(error).__name__) from error
        if asyncio.get_running_loop().time() - self._since < self._wait_s:
            raise RedisRecovering from error
        self._counts.without_stream += 1
        log.error("opening Redis without the stream: bids it lost may conflict", why=str(error))
