"""Opens Redis for bids: at once when it is the one we knew, else after putting back what it lost.

``meta`` of every partition records the server that the system was last open on. A server that
restarted or failed over is another one, an emptied one has no record; either way every bid is
answered 503 until the relaying process has made them match again, here.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import nats.errors
import nats.js.errors
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.api.errors import RedisRecovering, RedisUnavailable
from pkg.api.relay.event_stream import EventStream, StreamUnavailableError
from pkg.auction.events import encode_batch
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
    """What recoveries came to since the process began."""

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
    """Run by the relay, which holds the lease: one process recovers."""

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
        """``wait_s`` is how long NATS is waited for, and for the archive where Redis is empty;
        ``hearing_s`` how long is listened otherwise for the archive's watermarks, which are told
        each second. 0: the archive is not waited for at all.
        """
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
        """Stream sequences of the barriers since Redis was found closed: one is enough."""

    def forget(self) -> None:
        """Another process has the lease: what was seen here says nothing any more."""
        self._closed = None
        self._unheard = False
        self._barriers.clear()
        self._counts.waiting_for_restore = False

    async def ensure_open(
        self, archived: Mapping[str, OutboxId], *, met: Mapping[str, OutboxId] | None = None
    ) -> bool:
        """Opens Redis when it is not; whether something was put right.

        ``archived`` is what the archive announced so far, by partition; ``met`` the highest ids
        that this process knows were given out.

        Raises:
            RedisRecovering: not now; ask again. RedisUnavailable: Redis is away.
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
                self._barriers.clear()  # this server may have heard of bids behind them
                log.warning("Redis is not the one we were open on", run_id=run_id)
            if not all(recorded) and any(mark > BEGINNING for mark in archived.values()):
                self._want_restore("Redis is empty and the archive is not")
            try:
                self._hear(archived, emptied=not all(recorded))
                if all(recorded):
                    await self._put_back_tails(archived)
                else:
                    await self._refuse_forgotten()
            except _NATS_ERRORS as error:
                self._without_stream(error)
            for name, behind in (met or {}).items():
                # Opened without the stream, ids could fall behind those it has: never relayed.
                await PuttingBack(self._redis).move_outbox(name, behind)
            await open_partitions(self._redis, self._partitions, run_id)
        except (RedisError, OSError, NotOpenError) as error:
            raise RedisUnavailable from error
        self._counts.recoveries += 1
        self.forget()
        log.info("Redis is open for bids", run_id=run_id)
        return True

    def _hear(self, archived: Mapping[str, OutboxId], *, emptied: bool) -> None:
        """Raises RedisRecovering until the archive was heard, or had the time to be.

        It gets more time where Redis is empty: the archive may be the only store that is not.
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
            log.error("an empty Redis is opened, and whether the archive is empty is not known")

    async def _put_back_tails(self, archived: Mapping[str, OutboxId]) -> None:
        putting_back = PuttingBack(self._redis)
        await self._stream.prepare()
        await self._stream.make_room(self._names)  # for the barriers
        for name in self._names:
            end = await self._outbox_end(name)
            heard = archived.get(name, BEGINNING)
            stream_end = await self._bar_the_way(name)
            if heard > max(end, stream_end) or await begins_behind(
                self._link.jetstream, name, end, archived_to=heard
            ):
                # What lies between is in the archive alone, or nowhere.
                self._want_restore("Redis is older than what the stream holds", partition=name)
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

    async def _bar_the_way(self, partition: str) -> OutboxId:
        """An empty batch, so that no relay that read the outbox before Redis lost its tail can
        still publish: its fence names another message now. Returns the outbox id that the stream
        ends with. The batch ends there too: the next id may be that of an entry that Redis kept
        and that is still to be relayed.
        """
        sequence, last = await self._stream.last(partition)
        if last == BEGINNING or self._barriers.get(partition) == sequence:
            return last
        barrier = encode_batch(partition, prev=last, last=last, events=[])
        self._barriers[partition] = await self._stream.publish(
            partition, barrier, expected=sequence
        )
        return last

    async def _refuse_forgotten(self) -> None:
        """An empty Redis is new where no other store ever knew of a bid; else it wants restore."""
        try:
            state = (await self._link.jetstream.stream_info(STREAM)).state
        except nats.js.errors.NotFoundError:
            return
        if state.last_seq:
            self._want_restore("Redis is empty and the stream was not")

    def _want_restore(self, why: str, **about: str) -> None:
        if not self._counts.waiting_for_restore:
            log.error("bids are refused until restore was run", why=why, **about)
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
        """Raises until the wait is over, then lets Redis open without what the stream holds."""
        if asyncio.get_running_loop().time() - self._since < self._wait_s:
            raise RedisRecovering from error
        self._counts.without_stream += 1
        log.error("opening Redis without the stream: bids it lost may conflict", why=str(error))
