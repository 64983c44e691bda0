"""Opens Redis for bids. If its run id is new or not recorded, lost bids are put back first.

Each partition's ``meta`` records the run id of the server that the system was last open on. A
restart or a fail-over changes the server's run id, FLUSHALL deletes our record of it. Bids are then
answered 503 until the relaying process has recovered Redis and recorded the new run id.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import nats.errors
import nats.js.errors
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.api.errors import RedisRecovering, RedisUnavailable
from pkg.api.relay.event_stream import EventStream, NewerStreamError, StreamUnavailableError
from pkg.auction.events import UnknownVersionError, encode_batch
from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM
from pkg.runtime import logs
from pkg.runtime.nats_link import NatsLink
from pkg.stores.putting_back import PuttingBack
from pkg.stores.redis_meta import (
    RUN_ID,
    NotOpenError,
    is_opened_on,
    open_partitions,
    require_primary,
    server_run_id,
)
from pkg.stores.stream_tail import begins_behind

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
    waiting_for_restore: bool = False


@dataclass(frozen=True, slots=True)
class _Closed:
    """A server found closed, and since when (event loop's time)."""

    run_id: str
    since: float


class Recovery:
    """Run by the relay under its lease: one process at a time recovers.

    Args:
        wait_s: how long to wait for NATS, and for the archive's watermarks if Redis is empty.
        hearing_s: how long to wait for the watermarks otherwise; they are announced every second.
            0: never wait for them.
    """

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
        self._barriers: dict[str, int] = {}
        """Stream sequences of the barriers published since Redis was found closed."""

    def forget(self) -> None:
        """Drops what was observed: it is outdated, or another process has the lease."""
        self._closed = None
        self._unheard = False
        self._barriers.clear()
        self._counts.waiting_for_restore = False

    async def ensure_open(
        self, archived: Mapping[str, OutboxId], *, met: Mapping[str, OutboxId] | None = None
    ) -> bool:
        """Opens Redis for bids if it is closed. Returns True if it had to.

        ``archived`` holds the announced watermarks, ``met`` the highest outbox ids that this
        process has seen, both by partition.

        Raises:
            RedisRecovering: not yet; call again. RedisUnavailable: Redis is away.
        """
        try:
            await require_primary(self._redis)
            run_id = await server_run_id(self._redis)
            recorded = [await self._redis.hget(meta_key(name), RUN_ID) for name in self._names]
            if len(set(recorded)) == 1 and is_opened_on(run_id, recorded[0]):
                self.forget()
                return False
            if self._closed is None or self._closed.run_id != run_id:
                self._closed = _Closed(run_id, asyncio.get_running_loop().time())
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
            except (UnknownVersionError, NewerStreamError) as error:
                # Opening without what it holds could accept bids that contradict it.
                raise RedisRecovering(f"only a newer api-gateway can recover: {error}") from error
            except _NATS_ERRORS as error:
                self._without_stream(error)
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
            stream_end = await self._fence_out_stale_relays(name)
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

    async def _fence_out_stale_relays(self, partition: str) -> OutboxId:
        """Publish an empty batch so that a relay with a stale read fails its fence. Returns the
        stream's last outbox id.
        """
        sequence, last = await self._stream.last(partition)
        if last == BEGINNING or self._barriers.get(partition) == sequence:
            return last
        # Ends at ``last`` too: the next id may be an entry that is still to be relayed.
        barrier = encode_batch(partition, prev=last, last=last, events=[])
        self._barriers[partition] = await self._stream.publish(
            partition, barrier, expected=sequence
        )
        return last

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
