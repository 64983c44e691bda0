"""The relay: from the outbox to JetStream, in order, in batches, fenced.

It stores no position: it resumes after the last message of each subject. Every publish names the
sequence that it expects that message to have. So a second, slow or paused relay cannot publish an
event twice or out of order: JetStream refuses it.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from pkg.api.errors import ApiError, RedisSuperseded
from pkg.api.relay.event_stream import EventStream, FencedError, StreamUnavailableError, Tail
from pkg.api.relay.lease import TTL_S, Lease
from pkg.api.relay.metrics import RelayMetrics
from pkg.api.relay.outbox import Entry, Outbox, OutboxState
from pkg.api.relay.recovery import Recovery, opening_of
from pkg.api.relay.trimming import retirement
from pkg.auction.events import MAX_BATCH_BYTES, encode_batch
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import NO_PARTITION
from pkg.runtime import logs
from pkg.runtime.backoff import Backoff
from pkg.stores.epochs import Epoch

BLOCK_MS = 1000  # added to REDIS_TIMEOUT_S on the link for reads
LINGER_EVENTS = 64
CHECK_EVERY_S = 30.0
RETIRE_EVERY_S = 10.0
OPEN_EVERY_S = 1.0
FIRST_BACKOFF_S = 0.05
BACKOFF_CAP_S = 1.0

log = logs.get("relay")


@dataclass
class Lane:
    """A partition, as this relay knows it."""

    position: OutboxId = BEGINNING
    """The outbox id to resume after."""
    sequence: int = 0
    """The stream sequence of the subject's last message."""
    epoch: int = 0
    """The epoch in which this relay publishes."""
    stored: OutboxId = BEGINNING
    """The last outbox id that this relay saw in JetStream. Nothing beyond it is trimmed."""
    announced: OutboxId = BEGINNING
    """The last watermark heard that was beyond ``stored``."""
    archived: OutboxId = BEGINNING
    """The highest watermark that was believed."""
    archived_since: float = 0.0
    refused: OutboxId = BEGINNING
    """The last watermark that was not believed."""
    foreign_sequence: int = 0
    """The last message that was not of this outbox."""
    trimmed: OutboxId = BEGINNING


class Relay:
    """Relays while this process holds the lease."""

    def __init__(
        self,
        outbox: Outbox,
        stream: EventStream,
        lease: Lease,
        *,
        linger_max_ms: int,
        retention_s: float,
        resend_after_s: float,
        recovery: Recovery,
        metrics: RelayMetrics,
    ) -> None:
        self._outbox = outbox
        self._stream = stream
        self._lease = lease
        self._linger_max_s = linger_max_ms / 1000
        self._retention_s = retention_s
        self._resend_after_s = resend_after_s
        self._recovery = recovery
        self._metrics = metrics
        self._lanes = {partition: Lane() for partition in outbox.partitions}
        self._synced = False
        self._synced_since = 0.0
        self._checked_at = 0.0
        self._retired_at = 0.0
        self._open_at = 0.0
        self._heard: dict[str, OutboxId] = {}
        self._handed_over = False

    def resync(self) -> None:
        """Reads JetStream's last messages again before the next publish: they may have changed."""
        self._synced = False
        for lane in self._lanes.values():
            lane.stored = BEGINNING
        self._lease.come_back()

    def archive_has(self, partition: str, through: OutboxId, epoch: int = 0) -> None:
        """Takes an announced watermark; the next turn removes the entries up to it, unless it is
        beyond everything that this relay has seen in JetStream, or of another epoch.
        """
        lane = self._lanes.get(partition)
        if lane is None:
            if partition == NO_PARTITION:
                self._heard[partition] = BEGINNING
            return
        self._heard[partition] = through
        if epoch and lane.epoch and epoch != lane.epoch:
            if epoch > lane.epoch:
                self._synced = False  # somebody has published in a newer one
            return
        if through <= lane.stored:
            self._believe(lane, through)
        else:
            lane.announced = through  # the publish that it follows may not be acknowledged yet

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
                with suppress(ApiError):
                    # Archived entries may go even while the stream is full.
                    await self._remove_archived()
                self._metrics.failures += 1
                self._metrics.fenced += isinstance(error, FencedError)
                failing_since = failing_since or asyncio.get_running_loop().time()
                if isinstance(error, StreamUnavailableError):
                    await self._let_others_try(failing_since)
                if isinstance(error, RedisSuperseded) and not self._handed_over:
                    with suppress(ApiError, StreamUnavailableError):
                        await self._hand_over()
                if not failing:
                    log.warning("cannot relay; retrying", why=str(error) or type(error).__name__)
                failing = True
                await asyncio.sleep(backoff.next_s())
                continue
            if not relaying or failing:
                log.info("relaying again" if failing else "relaying", holder=self._lease.holder)
            relaying, failing, self._handed_over = True, False, False
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
                    for partition, lane in self._lanes.items():
                        await self._look(partition, lane)
                    await self._remove_archived()

    async def _let_others_try(self, failing_since: float) -> None:
        """Gives the lease up when NATS is out of reach for TTL_S: another process may reach it."""
        if self._lease.held and asyncio.get_running_loop().time() - failing_since > TTL_S:
            await self._lease.stand_aside()

    async def _turn(self) -> int:
        now = asyncio.get_running_loop().time()
        if not self._synced or now - self._open_at > OPEN_EVERY_S:
            if await self._recovery.ensure_open(self._heard, met=self._met()):
                self._synced = False
            self._open_at = now
        if not self._synced or now - self._checked_at > CHECK_EVERY_S:
            await self._sync()
        entries = await self._outbox.read(
            {partition: lane.position for partition, lane in self._lanes.items()},
            block_ms=BLOCK_MS,
        )
        # The read may have blocked. Meanwhile the lease may have gone to another process, or NATS
        # may have come back with less and reused the sequence that our fence names.
        if entries and self._lease.held and self._synced:
            await self._publish_all(entries)
        await self._remove_archived()
        if now - self._retired_at > RETIRE_EVERY_S:
            await self._make_room()
            await self._retire()
            self._retired_at = asyncio.get_running_loop().time()
        return sum(len(rows) for rows in entries.values())

    def _met(self) -> dict[str, OutboxId]:
        """The highest outbox id that this process has seen, by partition."""
        return {
            partition: max(lane.position, self._heard.get(partition, BEGINNING))
            for partition, lane in self._lanes.items()
        }

    async def _sync(self) -> None:
        await self._stream.prepare()
        await self._make_room()
        for partition, lane in self._lanes.items():
            await self._claim(partition, lane, await self._look(partition, lane))
            lane.position = lane.stored
            lane.trimmed = BEGINNING  # a Redis that forgot may hold removed entries again
        self._synced = True
        self._checked_at = asyncio.get_running_loop().time()
        if not self._synced_since:
            self._synced_since = self._checked_at

    async def _claim(self, partition: str, lane: Lane, tail: Tail) -> None:
        """Sees to it that the stream's last message is of our epoch.

        Raises RedisSuperseded if it is another history's.
        """
        epoch = self._recovery.epochs.get(partition, Epoch())
        lane.epoch = epoch.number
        if not epoch.number or tail.epoch == epoch.number:
            return
        if not epoch.follows(tail.epoch):
            await self._recovery.supersede(tail.epoch)
        lane.sequence = await self._stream.publish(
            partition, opening_of(partition, tail, epoch), expected=tail.sequence
        )

    async def _look(self, partition: str, lane: Lane) -> Tail:
        """Reads the subject's last message. One that ends beyond every id that the outbox gave out
        is not ours: then all entries are published again, and the archive drops duplicates.
        """
        tail = await self._stream.tail(partition)
        lane.sequence, last = tail.sequence, tail.last
        if last > await self._outbox.end(partition):
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
            position = BEGINNING
            while entries := (await self._outbox.read({partition: position}, block_ms=1)).get(
                partition
            ):
                for batch in _batches(entries):
                    await self._stream.hand_over(
                        encode_batch(
                            partition,
                            prev=position,
                            last=batch[-1].id,
                            events=[entry.event for entry in batch],
                            epoch=epoch or lane.epoch,
                        )
                    )
                    position = batch[-1].id
                handed += len(entries)
        self._handed_over = True
        log.error("the superseded Redis' outboxes were handed to the archive", entries=handed)

    async def _publish(self, partition: str, entries: Sequence[Entry]) -> None:
        """One message at a time: its sequence is the next one's fence."""
        lane = self._lanes[partition]
        for batch in _batches(entries):
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

    async def _make_room(self) -> None:
        room = await self._stream.make_room(tuple(self._lanes))
        self._metrics.stream_bytes = room.used_bytes
        self._metrics.purged += room.purged

    @staticmethod
    def _believe(lane: Lane, watermark: OutboxId) -> None:
        if watermark > lane.archived:
            lane.archived = watermark
            lane.archived_since = asyncio.get_running_loop().time()

    def _judge(self, partition: str, lane: Lane) -> None:
        """A watermark beyond all that was stored does not come from our archive."""
        if lane.announced <= lane.stored:
            self._believe(lane, lane.announced)
        elif self._synced and lane.announced != lane.refused:
            lane.refused = lane.announced
            self._metrics.watermarks_refused += 1
            log.error(
                "a watermark is beyond all that was stored; nothing is trimmed by it",
                partition=partition,
                watermark=str(lane.announced),
                stored=str(lane.stored),
            )

    async def _remove_archived(self) -> None:
        for partition, lane in self._lanes.items():
            self._judge(partition, lane)
            if lane.archived > lane.trimmed:
                through = lane.archived
                await self._outbox.trim_to(partition, through)
                lane.trimmed = through

    async def _retire(self) -> None:
        for partition, lane in self._lanes.items():
            state = await self._outbox.state(partition)
            if state.first_unarchived is None:
                continue
            relayed = min((await self._stream.tail(partition)).last, lane.stored)
            if await self._stuck(lane, state, relayed):
                lane.position = BEGINNING
                # Otherwise the next turn would resume at the stream's end and skip the resend.
                self._checked_at = lane.archived_since = asyncio.get_running_loop().time()
                self._metrics.resends += 1
                log.warning("the archive is stuck; publishing again", partition=partition)
                continue
            may_go = retirement(state, relayed=relayed, retention_s=self._retention_s)
            if may_go is None or await self._stream.all_taken():
                continue  # JetStream will not deliver what the archive lacks
            # Unless synced, NATS reconnected since it was asked and may hold less than it said.
            if self._synced:
                await self._outbox.retire(
                    partition, may_go.through, unarchived_from=may_go.unarchived_from
                )
                log.warning(
                    "entries left the outbox unarchived; JetStream holds them",
                    partition=partition,
                    through=str(may_go.through),
                )

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


def _batches(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    """Splits at MAX_BATCH_BYTES; a read returns at most MAX_BATCH_EVENTS of a partition."""
    batches: list[Sequence[Entry]] = []
    start = size = 0
    for index, entry in enumerate(entries):
        if size + len(entry.event) > MAX_BATCH_BYTES and index > start:
            batches.append(entries[start:index])
            start, size = index, 0
        size += len(entry.event) + 1
    batches.append(entries[start:])
    return batches
