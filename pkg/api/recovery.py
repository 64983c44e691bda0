"""Opens Redis for bids: at once when it is the one we knew, else after putting back what it lost.

``meta`` of every partition records the run id of the server that the system was last open on. A
server that restarted or failed over has another one, an emptied one has none; either way every bid
is answered 503 until the relaying process has made them match again, here.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import nats.errors
import nats.js.errors
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.api.errors import RedisRecovering, RedisUnavailable
from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM, events_subject
from pkg.runtime import logs
from pkg.runtime.nats_link import NatsLink
from pkg.runtime.putting_back import PuttingBack
from pkg.runtime.redis_meta import RUN_ID, open_partitions, server_run_id

_NATS_ERRORS = (nats.errors.Error, OSError, TimeoutError)

log = logs.get("recovery")


@dataclass
class RecoveryCounts:
    """What recoveries came to since the process began."""

    recoveries: int = 0
    put_back: int = 0
    without_stream: int = 0
    waiting_for_restore: bool = False


class Recovery:
    """Run by the relay, which holds the lease: one process recovers."""

    def __init__(
        self,
        redis: Redis,
        link: NatsLink,
        *,
        partitions: int,
        wait_s: float,
        hearing_s: float,
        counts: RecoveryCounts,
    ) -> None:
        """``wait_s`` is how long NATS is waited for, ``hearing_s`` how long an empty Redis listens
        for the archive's watermarks, which are told each second.
        """
        self._redis = redis
        self._link = link
        self._partitions = partitions
        self._names = partition_names(partitions)
        self._wait_s = wait_s
        self._hearing_s = hearing_s
        self._counts = counts
        self._closed_since: float | None = None

    async def ensure_open(self, archived: Mapping[str, OutboxId]) -> bool:
        """Opens Redis when it is not; whether something was put right.

        ``archived`` is what the archive announced so far, by partition.

        Raises:
            RedisRecovering: not now; ask again. RedisUnavailable: Redis is away.
        """
        try:
            run_id = await server_run_id(self._redis)
            recorded = [await self._redis.hget(meta_key(name), RUN_ID) for name in self._names]
            if all(each == run_id.encode() for each in recorded):
                self._closed_since = None
                self._counts.waiting_for_restore = False
                return False
            if self._closed_since is None:
                self._closed_since = time.monotonic()
                log.warning("this Redis is not the one we were open on; recovering", run_id=run_id)
            if all(recorded):
                await self._put_back_tail()
            else:
                await self._refuse_forgotten(archived)
            await open_partitions(self._redis, self._partitions, run_id)
        except (RedisError, OSError) as error:
            raise RedisUnavailable from error
        self._counts.recoveries += 1
        self._counts.waiting_for_restore = False
        self._closed_since = None
        log.info("Redis is open for bids", run_id=run_id)
        return True

    async def _put_back_tail(self) -> None:
        putting_back = PuttingBack(self._redis)
        for name in self._names:
            after = await self._outbox_end(name)
            try:
                self._need_nats()
                tally = await putting_back.stream_tail(self._link.jetstream, name, after)
            except _NATS_ERRORS as error:
                self._without_stream(error)
                return
            self._counts.put_back += tally.put_back
            if tally.put_back:
                log.warning("put back from the stream", partition=name, bids=tally.put_back)

    async def _refuse_forgotten(self, archived: Mapping[str, OutboxId]) -> None:
        """An empty Redis is new where no other store knows of a bid; else it wants ``restore``."""
        if any(mark > BEGINNING for mark in archived.values()):
            self._want_restore("the archive")
        try:
            self._need_nats()
            for name in self._names:
                if await self._stream_holds(name):
                    self._want_restore("the stream")
        except _NATS_ERRORS as error:
            self._without_stream(error)
            return
        since = self._closed_since or 0.0
        if not archived and time.monotonic() - since < self._hearing_s:
            raise RedisRecovering

    def _want_restore(self, holder: str) -> None:
        if not self._counts.waiting_for_restore:
            log.error("Redis is empty and another store is not: run restore", holder=holder)
        self._counts.waiting_for_restore = True
        raise RedisRecovering

    async def _stream_holds(self, partition: str) -> bool:
        try:
            await self._link.jetstream.get_last_msg(STREAM, events_subject(partition))
        except nats.js.errors.NotFoundError:
            return False
        return True

    def _need_nats(self) -> None:
        if not self._link.connected:
            raise nats.errors.ConnectionClosedError

    async def _outbox_end(self, partition: str) -> OutboxId:
        if not await self._redis.exists(outbox_key(partition)):
            return BEGINNING
        info = await self._redis.xinfo_stream(outbox_key(partition))
        return OutboxId.parse(info["last-generated-id"])

    def _without_stream(self, error: Exception) -> None:
        """Raises until the wait is over, then lets Redis open without what the stream holds."""
        if time.monotonic() - (self._closed_since or 0.0) < self._wait_s:
            raise RedisRecovering from error
        self._counts.without_stream += 1
        log.error("opening Redis without the stream: bids it lost may conflict", why=str(error))
