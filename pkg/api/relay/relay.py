"""The relay: from the outbox to JetStream, in order, in batches, fenced.

It stores no position: it resumes after the last message of each subject. Every publish names the
sequence that it expects that message to have. So a second, slow or paused relay cannot publish an
event twice or out of order: JetStream refuses it.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from pkg.api.errors import ApiError, OtherSystem, RedisRecovering, RedisSuperseded
from pkg.api.relay.event_stream import (
    EventStream,
    FencedError,
    StreamFullError,
    StreamUnavailableError,
)
from pkg.api.relay.lane import Lane, batches_of
from pkg.api.relay.lease import TTL_S, Lease
from pkg.api.relay.metrics import RelayMetrics
from pkg.api.relay.opening import all_again, publish_opening
from pkg.api.relay.outbox import Entry, Outbox, OutboxState
from pkg.api.relay.recovery import Recovery
from pkg.api.relay.trimming import held_through, surplus
from pkg.auction.events import ArchiveState, encode_batch
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.runtime import logs
from pkg.runtime.backoff import Backoff
from pkg.stores.barrier import Tail
from pkg.stores.epochs import Epoch

BLOCK_MS = 1000  # added to REDIS_TIMEOUT_S on the link for reads
LINGER_EVENTS = 64
CHECK_EVERY_S = 30.0
MAKE_ROOM_EVERY_S = 10.0
RESEND_EVERY_S = 10.0
RETIRE_EVERY_S = 1.0
RETIRED_AT_ONCE = 1000
OPEN_EVERY_S = 1.0
FIRST_BACKOFF_S = 0.05
BACKOFF_CAP_S = 1.0

log = logs.get("relay")


class Relay:
    """Relays while this process holds the lease."""

    def __init__(
        self,
        outbox: Outbox,
        stream: EventStream,
        lease: Lease,
        *,
        linger_max_ms: int,
        outbox_max_entries: int,
        resend_after_s: float,
        recovery: Recovery,
        metrics: RelayMetrics,
    ) -> None:
        self._outbox = outbox
        self._stream = stream
        self._lease = lease
        self._linger_max_s = linger_max_ms / 1000
        self._outbox_max_entries = outbox_max_entries
        self._resend_after_s = resend_after_s
        self._recovery = recovery
        self._metrics = metrics
        self._lanes = {name: Lane(name, metrics) for name in outbox.partitions}
        self._synced = False
        self._synced_since = 0.0
        self._checked_at = 0.0
        self._made_room_at = 0.0
        self._resent_at = 0.0
        self._retired_at = 0.0
        self._open_at = 0.0
        self._heard: dict[str, OutboxId] = {}
        self._archive: ArchiveState | None = None
        self._handed_over = False
        self._handed_through: dict[str, OutboxId] = {}

    def resync(self) -> None:
        """Reads JetStream's last messages again before the next publish: they may have changed."""
        self._synced = self._handed_over = False
        self._handed_through.clear()
        self._archive = None  # it may be another NATS, with another archive
        self._heard.clear()
        for lane in self._lanes.values():
            lane.stored, lane.newest = BEGINNING, 0
        self._lease.come_back()

    def archive_has(self, partition: str, through: OutboxId, epoch: int = 0) -> None:
        """Takes an announced watermark; the next turn removes the entries up to it, unless it is
        beyond everything that this relay has seen in JetStream, or of another epoch.
        """
        lane = self._lanes.get(partition)
        if lane is None or lane.refuses(epoch):
            return
        self._heard[partition] = through
        if lane.hear(through, epoch):
            self._synced = False

    def archive_says(self, state: ArchiveState) -> None:
        """Takes what the archive announces of itself."""
        if self._archive is None and self._recovery.system.id is None:
            self._synced = False  # Redis can join a system now
        self._archive = state

    async def run(self) -> None:
        """Relays until cancelled; retries through every outage."""
        backoff = Backoff(FIRST_BACKOFF_S, BACKOFF_CAP_S)
        failing = False
        failing_since = 0.0
        relaying = False
        while True:
            try:
                if not self._lease.held:
                    self._synced = relaying = False
                    self._recovery.forget()
                    await self._wait_for_lease()
                relayed = await self._turn()
            except (StreamUnavailableError, ApiError) as error:
                self._synced = False
                # What is archived may go even while the stream is full or Redis waits for restore.
                with suppress(ApiError):
                    await self._remove_archived()
                if isinstance(error, RedisRecovering):
                    with suppress(StreamUnavailableError):
                        await self._make_room_in_time()
                self._metrics.failures += 1
                self._metrics.fenced += isinstance(error, FencedError)
                failing_since = failing_since or asyncio.get_running_loop().time()
                elsewhere = isinstance(error, StreamUnavailableError | OtherSystem)
                if elsewhere and not isinstance(error, StreamFullError):
                    await self._let_others_try(failing_since)
                if isinstance(error, RedisSuperseded) and not self._handed_over:
                    self._handed_over = True  # unless NATS reconnects meanwhile
                    try:
                        await self._hand_over()
                    except (ApiError, StreamUnavailableError):
                        self._handed_over = False
                if not failing:
                    log.warning("cannot relay; retrying", why=str(error) or type(error).__name__)
                failing = True
                await asyncio.sleep(backoff.next_s())
                continue
            if not relaying or failing:
                log.info("relaying again" if failing else "relaying", holder=self._lease.holder)
            relaying, failing, self._handed_over = True, False, False
            self._handed_through.clear()
            failing_since = 0.0
            backoff.reset()
            await self._linger(relayed)

    async def _wait_for_lease(self) -> None:
        """A Redis whose memory is full grants no lease, so whoever waits for one makes room: any
        process may remove archived entries at any time.
        """
        while not self._lease.held:
            with suppress(TimeoutError):
                async with asyncio.timeout(TTL_S):
                    await self._lease.wait_held()
            if self._lease.refused:
                with suppress(ApiError, StreamUnavailableError):
                    await self._look_at_our_own()
                    await self._remove_archived()

    async def _look_at_our_own(self) -> None:
        """Finds what a process without the lease may trim by: the stream's end, if it is of the
        epoch in which this Redis is open.
        """
        await self._recovery.look()
        for partition, lane in self._lanes.items():
            tail = await self._look(partition, lane)
            lane.enter(self._recovery.epochs.get(partition, Epoch()).number)
            if tail.epoch != lane.epoch:
                lane.stored = BEGINNING

    async def _let_others_try(self, failing_since: float) -> None:
        """Gives the lease up when NATS is out of reach, or another system's, for TTL_S: another
        process may reach ours.
        """
        if self._lease.held and asyncio.get_running_loop().time() - failing_since > TTL_S:
            await self._lease.stand_aside()

    async def _turn(self) -> int:
        now = asyncio.get_running_loop().time()
        if not self._synced or now - self._open_at > OPEN_EVERY_S:
            if await self._recovery.ensure_open(
                self._heard, archive=self._archive, met=self._met()
            ):
                self._synced = False
            self._open_at = now
        if not self._synced or now - self._checked_at > CHECK_EVERY_S:
            await self._sync()
        # Before publishing, which a full stream refuses: the outbox must not fill up with what that
        # already holds.
        await self._keep_up(now)
        entries = await self._outbox.read(
            {partition: lane.position for partition, lane in self._lanes.items()},
            block_ms=BLOCK_MS,
        )
        # The read may have blocked. Meanwhile the lease may have gone to another process, or NATS
        # may have come back with less and reused the sequence that our fence names.
        if entries and self._lease.held and self._synced:
            await self._publish_all(entries)
        await self._remove_archived()
        return sum(len(rows) for rows in entries.values())

    async def _keep_up(self, now: float) -> None:
        await self._make_room_in_time()
        if now - self._resent_at > RESEND_EVERY_S:
            await self._resend_what_is_stuck()
            self._resent_at = now
        if now - self._retired_at > RETIRE_EVERY_S:
            await self._retire()
            self._retired_at = now

    def _met(self) -> dict[str, OutboxId]:
        """The highest outbox id that this process has seen, by partition."""
        return {
            partition: max(lane.position, self._heard.get(partition, BEGINNING))
            for partition, lane in self._lanes.items()
        }

    async def _sync(self) -> None:
        system = await self._stream.prepare()
        await self._recovery.system.refuse_other(system)
        await self._make_room()
        for partition, lane in self._lanes.items():
            await self._claim(partition, lane, await self._look(partition, lane))
            lane.position = lane.stored
            lane.trimmed = BEGINNING  # a Redis that forgot may hold removed entries again
        await self._recovery.system.join(system, self._archive)
        self._synced = True
        self._checked_at = asyncio.get_running_loop().time()
        if not self._synced_since:
            self._synced_since = self._checked_at

    async def _claim(self, partition: str, lane: Lane, tail: Tail) -> None:
        """Sees to it that the stream's last message is of our epoch, and that the archive knows of
        no newer one.

        Raises RedisSuperseded if the stream's history is another one's.
        """
        epoch = self._recovery.epochs.get(partition, Epoch())
        lane.enter(epoch.number)
        if not epoch.number:
            return
        if not epoch.follows(tail.epoch):
            lane.stored = BEGINNING  # the stream holds another history
            await self._recovery.supersede(tail.epoch)
        if lane.newest > epoch.number:
            # The stream lost what began that epoch, and goes on with ours.
            epoch = await self._recovery.overtake(partition, lane.newest)
            lane.enter(epoch.number)
        if tail.epoch == epoch.number:
            return
        if tail.epoch:
            tail = all_again(tail)
            lane.stored = tail.last
        lane.sequence = await publish_opening(self._stream, partition, tail, epoch)

    async def _look(self, partition: str, lane: Lane) -> Tail:
        """Reads the subject's last message. If it is not ours, all entries are published again, and
        the archive drops duplicates.
        """
        tail = await self._stream.tail(partition)
        lane.sequence, last = tail.sequence, tail.last
        if await self._is_foreign(partition, tail):
            if lane.sequence != lane.foreign_sequence:
                lane.foreign_sequence = lane.sequence
                self._metrics.foreign_messages += 1
                log.error(
                    "the stream's last message is not of this outbox; publishing all entries again",
                    partition=partition,
                    ends_with=str(last),
                )
            last = BEGINNING
        lane.stored = last
        return tail._replace(last=last)

    async def _is_foreign(self, partition: str, tail: Tail) -> bool:
        """Whether it ends beyond every id that the outbox gave out, or with another event than the
        entry of that id. Another epoch's may: that is judged by the epoch.
        """
        if tail.last > await self._outbox.end(partition):
            return True
        epoch = self._recovery.epochs.get(partition, Epoch()).number
        if tail.event is None or tail.epoch not in {0, epoch}:
            return False
        return await self._outbox.event(partition, tail.last) not in {None, tail.event}

    async def _publish_all(self, entries: dict[str, list[Entry]]) -> None:
        results = await asyncio.gather(
            *(self._publish(partition, rows) for partition, rows in entries.items()),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _hand_over(self) -> None:
        """Publishes what the outboxes of a superseded Redis still hold, so that the archive keeps
        it apart and the audit names it. What it has archived before does not count.
        """
        handed = 0
        for partition, lane in self._lanes.items():
            epoch = self._recovery.epochs.get(partition, Epoch()).number
            position = self._handed_through.get(partition, BEGINNING)
            while entries := (await self._outbox.read({partition: position}, block_ms=1)).get(
                partition
            ):
                for batch in batches_of(entries):
                    await self._stream.hand_over(
                        encode_batch(
                            partition,
                            prev=position,
                            last=batch[-1].id,
                            events=[entry.event for entry in batch],
                            epoch=epoch or lane.epoch,
                        )
                    )
                    position = self._handed_through[partition] = batch[-1].id
                handed += len(entries)
        log.error("the superseded Redis' outboxes were handed to the archive", entries=handed)

    async def _publish(self, partition: str, entries: Sequence[Entry]) -> None:
        """One message at a time: its sequence is the next one's fence."""
        lane = self._lanes[partition]
        for batch in batches_of(entries):
            last = batch[-1].id
            message = encode_batch(
                partition,
                prev=lane.position,
                last=last,
                events=[entry.event for entry in batch],
                epoch=lane.epoch,
            )
            lane.sequence = await self._stream.publish(partition, message, expected=lane.sequence)
            lane.position = last
            lane.stored = max(lane.stored, last)
            self._metrics.relayed(len(batch), oldest_ms=batch[0].id.ms)

    async def _make_room_in_time(self) -> None:
        if asyncio.get_running_loop().time() - self._made_room_at > MAKE_ROOM_EVERY_S:
            await self._make_room()

    async def _make_room(self) -> None:
        self._made_room_at = asyncio.get_running_loop().time()
        room = await self._stream.make_room(tuple(self._lanes))
        self._metrics.stream_bytes = room.used_bytes
        self._metrics.purged += room.purged

    async def _remove_archived(self) -> None:
        for partition, lane in self._lanes.items():
            lane.judge(complete=self._synced)
            if lane.archived > lane.trimmed:
                through = lane.archived
                await self._outbox.trim_to(partition, through)
                lane.trimmed = through

    async def _resend_what_is_stuck(self) -> None:
        for partition, lane in self._lanes.items():
            state = await self._outbox.state(partition)
            if state.first_unarchived is None:
                continue
            held = held_through(await self._stream.tail(partition), lane.stored)
            if await self._stuck(lane, state, held):
                lane.position = BEGINNING
                # Otherwise the next turn would resume at the stream's end and skip the resend.
                self._checked_at = lane.archived_since = asyncio.get_running_loop().time()
                self._metrics.resends += 1
                log.warning("the archive is stuck; publishing again", partition=partition)

    async def _retire(self) -> None:
        for partition, depth in (await self._outbox.depths()).items():
            excess = surplus(depth, max_entries=self._outbox_max_entries)
            if not excess:
                continue
            held = held_through(await self._stream.tail(partition), self._lanes[partition].stored)
            if await self._stream.all_taken():
                continue  # JetStream will not deliver what the archive lacks
            # Unless synced, NATS reconnected since it was asked and may hold less than it said.
            while excess > 0 and self._synced:
                gone = await self._outbox.retire(
                    partition, most=min(excess, RETIRED_AT_ONCE), through=held
                )
                if not gone:
                    break
                excess -= gone
                self._metrics.retired += gone

    async def _stuck(self, lane: Lane, state: OutboxState, relayed: OutboxId) -> bool:
        """Whether JetStream took events that it will never deliver to the archive.

        That happens after NATS is restored from an older copy or a message is removed by hand.
        """
        if state.first_unarchived is None or state.first_unarchived > relayed:
            return False
        still_s = asyncio.get_running_loop().time() - max(lane.archived_since, self._synced_since)
        return still_s > self._resend_after_s and await self._stream.all_taken()

    async def _linger(self, relayed: int) -> None:
        """Under load, waits for a fuller batch; when quiet, not at all."""
        if 1 < relayed < LINGER_EVENTS and self._linger_max_s:
            await asyncio.sleep(self._linger_max_s * (1 - relayed / LINGER_EVENTS))
