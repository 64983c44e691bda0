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
import nats.js.errors
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.api.errors import RedisRecovering, RedisSuperseded, RedisUnavailable
from pkg.api.relay.event_stream import (
    EventStream,
    NewerStreamError,
    StreamUnavailableError,
    Tail,
)
from pkg.auction.events import UnknownVersionError, encode_batch
from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM
from pkg.runtime import logs
from pkg.runtime.nats_link import NatsLink
from pkg.stores.epochs import Epoch, parse_epoch, read_epoch, record_epoch, supersede
from pkg.stores.putting_back import PuttingBack
from pkg.stores.redis_meta import (
    EPOCH,
    RUN_ID,
    SUCCEEDS,
    NotOpenError,
    is_opened_on,
    is_superseded,
    open_partitions,
    require_primary,
    server_run_id,
)
from pkg.stores.stream_tail import batches_after, begins_behind

_NATS_ERRORS = (StreamUnavailableError, nats.errors.Error, OSError, TimeoutError)

log = logs.get("recovery")


@dataclass
class RecoveryCounts:
    """Counts since the process started."""

    recoveries: int = 0
    put_back: int = 0
    refused: int = 0
    without_stream: int = 0
    without_archive: int = 0
    superseded: bool = False
    waiting_for_restore: bool = False


@dataclass(frozen=True, slots=True)
class _Closed:
    """A server found closed, and since when (event loop's time)."""

    run_id: str
    since: float


class Recovery:
    """Run by the relay under its lease: one process at a time recovers.

    ``epochs`` are those of this Redis, by partition, as of the last ``ensure_open``.

    Args:
        wait_s: how long to wait for NATS, and for the archive's watermarks if Redis is empty.
        hearing_s: how long to wait for the watermarks otherwise; they are announced every second.
            0: never wait for them.
    """

    epochs: Mapping[str, Epoch] = MappingProxyType({})

    def __init__(
        self,
        redis: Redis,
        link: NatsLink,
        stream: EventStream,
        *,
        partitions: int,
        wait_s: float,
        hearing_s: float,
        counts: RecoveryCounts,
    ) -> None:
        self._redis = redis
        self._link = link
        self._stream = stream
        self._partitions = partitions
        self._names = partition_names(partitions)
        self._wait_s = wait_s
        self._hearing_s = hearing_s
        self._counts = counts
        self._closed: _Closed | None = None
        self._unheard = False
        self._taken: dict[str, Epoch] = {}
        """Epochs taken since Redis was found closed."""
        self._barriers: dict[str, int] = {}
        """Stream sequences of the barriers published since Redis was found closed."""

    def forget(self) -> None:
        """Drops what was observed: it is outdated, or another process has the lease."""
        self._closed = None
        self._unheard = False
        self._barriers.clear()
        self._taken.clear()
        self._counts.waiting_for_restore = False

    async def ensure_open(
        self, archived: Mapping[str, OutboxId], *, met: Mapping[str, OutboxId] | None = None
    ) -> bool:
        """Opens Redis for bids if it is closed. Returns True if it had to.

        ``archived`` holds the announced watermarks, ``met`` the highest outbox ids that this
        process has seen, both by partition.

        Raises:
            RedisRecovering: not yet; call again. RedisUnavailable: Redis is away.
            RedisSuperseded: another Redis was opened after this one.
        """
        try:
            await require_primary(self._redis)
            run_id = await server_run_id(self._redis)
            recorded = await self._read_meta()
            if any(map(is_superseded, recorded)):
                self._counts.superseded = True
                raise RedisSuperseded
            self._counts.superseded = False
            if len(set(recorded)) == 1 and is_opened_on(run_id, recorded[0]):
                self.forget()
                return await self._take_epochs_where_none_are()
            if self._closed is None or self._closed.run_id != run_id:
                self._closed = _Closed(run_id, asyncio.get_running_loop().time())
                self._taken.clear()
                self._barriers.clear()  # a relay may have read this server's outbox since
                log.warning("Redis is not the server we were open on", run_id=run_id)
            if not all(recorded) and any(mark > BEGINNING for mark in archived.values()):
                self._require_restore("Redis is empty and the archive is not")
            try:
                self._hear(archived, emptied=not all(recorded))
                if all(recorded):
                    await self._put_back_tails(archived)
                else:
                    await self._require_new_system()
                    await self._take_epochs()
            except (UnknownVersionError, NewerStreamError) as error:
                # Opening without what it holds could accept bids that contradict it.
                raise RedisRecovering(f"only a newer api-gateway can recover: {error}") from error
            except _NATS_ERRORS as error:
                self._without_stream(error)
                await self._take_epochs()
            for name, behind in (met or {}).items():
                # Without the stream, new ids could be below its last one and never be relayed.
                await PuttingBack(self._redis).move_outbox(name, behind)
            await open_partitions(self._redis, self._partitions, run_id)
        except (RedisError, OSError, NotOpenError) as error:
            raise RedisUnavailable from error
        self._counts.recoveries += 1
        self.forget()
        log.info("Redis is open for bids", run_id=run_id)
        return True

    async def supersede(self, by: int) -> None:
        """Closes this Redis for bids: the stream goes on with another one's history.

        Raises:
            RedisUnavailable: Redis is away; call again. RedisSuperseded: always, once it is closed.
        """
        log.error("another Redis was opened after this one; bids are refused from now on", epoch=by)
        try:
            await supersede(self._redis, list(self._names), by=by)
        except (RedisError, OSError) as error:
            raise RedisUnavailable from error
        self._counts.superseded = True
        raise RedisSuperseded

    async def _read_meta(self) -> list[bytes | str | None]:
        """What is recorded as run id, by partition; keeps the epochs."""
        recorded, epochs = [], {}
        for name in self._names:
            opening, *epoch = await self._redis.hmget(meta_key(name), [RUN_ID, EPOCH, SUCCEEDS])
            recorded.append(opening)
            epochs[name] = parse_epoch(*epoch)
        self.epochs = epochs
        return recorded

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
        epoch = (await read_epoch(self._redis, name)).next(after=after)
        await record_epoch(self._redis, name, epoch)
        self._taken[name] = epoch
        self.epochs = {**self.epochs, name: epoch}
        return epoch

    def _hear(self, archived: Mapping[str, OutboxId], *, emptied: bool) -> None:
        """Raises RedisRecovering until the archive has announced itself or the wait is over.

        The wait is longer if Redis is empty: the archive may be the only store that is not.
        """
        if not self._link.connected:
            raise nats.errors.ConnectionClosedError
        if archived or not self._hearing_s:
            return
        now = asyncio.get_running_loop().time()
        patience_s = max(self._hearing_s, self._wait_s) if emptied else self._hearing_s
        if now - max(self._since, self._link.up_since) < patience_s:
            raise RedisRecovering
        if emptied and not self._unheard:
            self._unheard = True
            self._counts.without_archive += 1
            log.error("opening an empty Redis without knowing whether the archive is empty")

    async def _put_back_tails(self, archived: Mapping[str, OutboxId]) -> None:
        putting_back = PuttingBack(self._redis)
        await self._stream.prepare()
        await self._stream.make_room(self._names)  # a full stream would refuse the barriers
        for name in self._names:
            end = await self._outbox_end(name)
            heard = archived.get(name, BEGINNING)
            tail = await self._stream.tail(name)
            await self._require_own_past(name, tail)
            stream_end = tail.last
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
            self._counts.put_back += tally.put_back
            self._counts.refused += tally.refused
            if tally.put_back or tally.refused:
                log.warning(
                    "read back from the stream",
                    partition=name,
                    put_back=tally.put_back,
                    refused=tally.refused,
                )

    async def _fence_out_stale_relays(self, partition: str, tail: Tail) -> None:
        """Takes a new epoch and publishes it with an empty batch: from then on a relay with a
        stale read fails its fence, and batches of older epochs are not of this history.
        """
        if tail.sequence and self._barriers.get(partition) == tail.sequence:
            return
        epoch = await self._take_epoch(partition, after=tail.epoch)
        self._barriers[partition] = await self._stream.publish(
            partition, opening_of(partition, tail, epoch), expected=tail.sequence
        )

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

    async def _require_new_system(self) -> None:
        """Raises RedisRecovering for an empty Redis unless the stream never held a bid."""
        try:
            state = (await self._link.jetstream.stream_info(STREAM)).state
        except nats.js.errors.NotFoundError:
            return
        if state.last_seq:
            self._require_restore("Redis is empty and the stream was not")

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

    def _without_stream(self, error: Exception) -> None:
        """Raises RedisRecovering until ``wait_s`` is over; then Redis opens without the stream."""
        if asyncio.get_running_loop().time() - self._since < self._wait_s:
            raise RedisRecovering from error
        self._counts.without_stream += 1
        log.error("opening Redis without the stream: bids it lost may conflict", why=str(error))


def opening_of(partition: str, tail: Tail, epoch: Epoch) -> bytes:
    """An empty batch that begins an epoch. It ends where the subject's last message does: the next
    id may be an entry that is still to be relayed.
    """
    return encode_batch(partition, prev=tail.last, last=tail.last, events=[], epoch=epoch.number)
