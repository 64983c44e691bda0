"""Reads items from Redis: for the first viewer, when something is missing, and every REPAIR_S."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.auction.item import FIELDS, ItemState, partition_names
from pkg.auction.keys import item_key, meta_key
from pkg.broadcast.archived_reads import ArchivedReads
from pkg.broadcast.channel import Channel
from pkg.broadcast.item_view import ItemView
from pkg.broadcast.metrics import Counts
from pkg.runtime import logs
from pkg.stores.departures import Departures
from pkg.stores.opening import require_open
from pkg.stores.redis_meta import (
    DEPARTURES,
    EPOCH,
    PARTITIONS,
    NotOpenError,
    PartitionsDifferError,
)

READ_AT_ONCE = 500
"""Items in one pipeline: about 15 ms of this process."""
_RETRY_S = 0.5

Reading: TypeAlias = tuple[Channel, ItemView | None, ItemView | None]
"""An item, what was found (None if it could not be read), and what had been told before."""

log = logs.get("repairs")


class Repairs:
    """One read at a time, so a request is always served by a read that starts after it.

    No other task talks to Redis, and this one only reads.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        partitions: int,
        repair_s: float,
        watched: Callable[[], Iterable[Channel]],
        archived: ArchivedReads,
        counts: Counts,
    ) -> None:
        self.epochs: dict[str, int] = {}
        self._redis = redis
        self._partitions = partitions
        self._repair_s = repair_s
        self._watched = watched
        self._archived = archived
        self._departures = Departures(redis, partitions=partitions)
        self._counts = counts
        self._asked: dict[Channel, None] = {}
        self._in_turn: deque[list[Channel]] = deque()
        self._wake = asyncio.Event()
        self._up: bool | None = None
        self._closed = ""
        """Why Redis was not trusted last; empty if it was."""
        self._next_turn = 0.0

    def probe(self) -> str | None:
        """For ``Readiness.watch``."""
        return None if self._up else "down"

    def ask(self, channel: Channel) -> None:
        """Reads the item ahead of the periodic reads. Asking twice reads it once."""
        self._asked[channel] = None
        self._wake.set()

    async def run(self) -> None:
        """Runs until cancelled.

        Raises:
            PartitionsDifferError: items would be looked for in the wrong place.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                if self._asked:
                    await self._read(self._take_asked())
                elif self._in_turn:
                    await self._read(self._in_turn.popleft())
                elif loop.time() >= self._next_turn:
                    self._next_turn = loop.time() + self._repair_s
                    await self._check_partitions()
                    self._in_turn.extend(self._turns())
                else:
                    await self._pause(self._next_turn - loop.time())
            except (RedisError, OSError) as error:
                self._next_turn = loop.time() + min(_RETRY_S, self._repair_s)
                self._is_down(error)

    def _take_asked(self) -> list[Channel]:
        batch = list(self._asked)[:READ_AT_ONCE]
        for channel in batch:
            del self._asked[channel]
        return batch

    def _turns(self) -> Iterable[list[Channel]]:
        """Every watched item, in pipelines of one partition and at most READ_AT_ONCE items each."""
        by_partition: defaultdict[str, list[Channel]] = defaultdict(list)
        for channel in self._watched():
            by_partition[channel.partition].append(channel)
        for channels in by_partition.values():
            for start in range(0, len(channels), READ_AT_ONCE):
                yield channels[start : start + READ_AT_ONCE]

    async def _pause(self, longest_s: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(longest_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _read(self, channels: Sequence[Channel]) -> None:
        asked_at = [channel.sequencer.told for channel in channels]
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for channel in channels:
                    pipeline.hmget(item_key(channel.partition, channel.item_id), FIELDS)
                partitions = list({channel.partition for channel in channels})
                for partition in partitions:
                    pipeline.hmget(meta_key(partition), [EPOCH, DEPARTURES])
                answers = await pipeline.execute(raise_on_error=False)
            self._is_up()
            marks = {
                partition: (int(mark[0] or 0), int(mark[1] or 0))
                for partition, mark in zip(partitions, answers[len(channels) :], strict=True)
                if isinstance(mark, list)
            }
            self.epochs |= {partition: epoch for partition, (epoch, _) in marks.items() if epoch}
            readings = [
                (channel, self._view(channel, answer), before)
                for channel, answer, before in zip(
                    channels, answers[: len(channels)], asked_at, strict=True
                )
            ]
            readings = await self._without_departed(readings, marks)
            trusted = True
            if any(
                found and (before is None or found.contradicts(before))
                for _, found, before in readings
            ):
                trusted = await self._is_open()
        except (RedisError, OSError):
            for channel in channels:
                channel.unreadable()
            raise
        for channel, found, before in readings:
            # A Redis that may have forgotten bids greets nobody.
            if found is None or (before is None and not trusted):
                channel.unreadable()
            else:
                channel.read(found, asked_at=before, trusted=trusted)

    async def _without_departed(
        self, readings: Sequence[Reading], marks: Mapping[str, tuple[int, int]]
    ) -> list[Reading]:
        """Leaves items to the archive that Redis lacks because they left it."""
        missing = [channel.item_id for channel, found, _ in readings if found and not found.seq]
        departed = await self._departures.departed(missing)
        open_ = not departed or await self._is_open()
        left: list[Reading] = []
        for channel, found, before in readings:
            if channel.item_id not in departed:
                left.append((channel, found, before))
                continue
            if not open_:  # it may be put back with more than the archive has
                left.append((channel, None, before))
                continue
            mark = marks.get(channel.partition, (0, 0))
            if channel.archived is not None and channel.archived[0] == mark:
                left.append((channel, channel.archived[1], before))  # none has left since
            else:
                self._archived.ask(channel, asked_at=before, mark=mark)
        return left

    def _view(self, channel: Channel, answer: Any) -> ItemView | None:  # noqa: ANN401 - a reply
        self._counts.repair_reads += 1
        try:
            if isinstance(answer, RedisError):
                raise answer
            return ItemView.of(ItemState.from_redis(answer))
        except (RedisError, ValueError) as error:
            # Only this item is unreadable: its key has another type, or text that is not ours.
            self._counts.repair_reads_failed += 1
            log.warning("item cannot be read", item=channel.item_id, error=str(error))
            return None

    async def _is_open(self) -> bool:
        try:
            await require_open(self._redis, partition_names(self._partitions))
        except NotOpenError as error:
            if str(error) != self._closed:  # it is asked for each item, many times a second
                log.info("redis is behind and not recovered yet", why=str(error))
            self._closed = str(error)
            return False
        self._closed = ""
        return True

    async def _check_partitions(self) -> None:
        """Writes nothing, so that a full Redis, or a replica, still serves viewers."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for partition in partition_names(self._partitions):
                pipeline.hget(meta_key(partition), PARTITIONS)
            recorded = await pipeline.execute()
        for number in recorded:
            if number is not None and int(number) != self._partitions:
                raise PartitionsDifferError(
                    f"this Redis was filled with PARTITIONS={int(number)}, "
                    f"this process is set to {self._partitions}"
                )
        self._is_up()

    def _is_up(self) -> None:
        if not self._up:
            log.info("redis answers")
        self._up = True

    def _is_down(self, error: Exception) -> None:
        """Refuses all who wait: nobody waits for a Redis that is down."""
        self._counts.repair_reads_failed += 1
        if self._up is not False:
            log.warning("redis does not answer; retrying", error=str(error))
        self._up = False
        self._in_turn.clear()
        for channel in self._asked:
            channel.unreadable()
        self._asked.clear()
