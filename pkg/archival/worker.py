"""The worker's loop: take, commit, acknowledge, announce. Messages are acknowledged only here."""

import asyncio
from functools import partial

import nats.errors

from pkg.archival.announcer import Announcer
from pkg.archival.belonging import Belonging, OtherSystemError
from pkg.archival.commit import UnstorableError, commit
from pkg.archival.deliveries import Deliveries, Delivery
from pkg.archival.intake import Portion, Reader, partition_of_subject, unstorable
from pkg.archival.metrics import ArchiveMetrics
from pkg.archival.stops import Stops
from pkg.archival.store import Stopped, Store
from pkg.auction.events import UnknownVersionError
from pkg.runtime import logs

IDLE_S = 1.0

log = logs.get("worker")


class Worker:
    """Archives what arrived during the last transaction: bursts in large portions, a lone bid at
    once. While PostgreSQL is away it keeps its portion and pulls nothing more.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        store: Store,
        announcer: Announcer,
        metrics: ArchiveMetrics,
        stops: Stops,
        *,
        reader: Reader,
        stop: asyncio.Event,
        belonging: Belonging | None = None,
        batch_events: int,
        batch_messages: int,
        linger_s: float,
    ) -> None:
        """``linger_s`` is the minimum time between transactions, unless a portion is full."""
        self._deliveries = deliveries
        self._store = store
        self._announcer = announcer
        self._metrics = metrics
        self._stops = stops
        self._reader = reader
        self._stop = stop
        self._belonging = belonging
        self._batch_events = batch_events
        self._batch_messages = batch_messages
        self._linger_s = linger_s
        self._committed_at = float("-inf")

    async def run(self) -> None:
        """Returns once stopped, after the transaction in flight."""
        try:
            idle = True
            while not self._stop.is_set():
                self._stops.look()
                if idle:
                    await self._store.run(self._announcer.look)
                first = await self._deliveries.next(within_s=IDLE_S)
                if first is not None:
                    await self._archive(first)
                idle = first is None
        except Stopped:
            log.info("stopped with PostgreSQL away; what is not archived comes again")

    async def _archive(self, first: Delivery) -> None:
        portion, held = await self._portion(first)
        if not held:
            return
        self._metrics.taken(portion.oldest)
        if not await self._belongs(held):
            self._metrics.taken(None)
            return
        try:
            await self._settle(portion, held)
        except UnstorableError as error:
            await self._settle_apart(held, error)

    async def _settle_apart(self, held: list[Delivery], error: UnstorableError) -> None:
        """Archives what it can, and keeps the message that PostgreSQL cannot hold, found by
        halving, as a dead letter: the watermark stays before it, but nothing else does.
        """
        if len(held) == 1:
            message = held[0].message
            letter = unstorable(message.subject, message.data, str(error))
            await self._settle(Portion(dead_letters=[letter]), held)
            return
        middle = len(held) // 2
        for half in (held[:middle], held[middle:]):
            portion = Portion(self._reader)
            for each in half:
                each.add_to(portion)
            try:
                await self._settle(portion, half)
            except UnstorableError as more:
                await self._settle_apart(half, more)

    async def _settle(self, portion: Portion, held: list[Delivery]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            committed = await self._store.run(partial(commit, portion=portion))
        except Stopped:
            await self._deliveries.give_back(held)
            raise
        self._committed_at = loop.time()
        self._metrics.committed(committed, events=len(portion), took_s=self._committed_at - began)
        await self._deliveries.acknowledge(held)
        await self._announcer.moved(committed.archived_to)
        for reason, count in committed.dead_letters.items():
            log.error("dead letters", reason=reason, count=count)

    async def _belongs(self, held: list[Delivery]) -> bool:
        """Whether the stream is known not to be another system's; if not, gives everything back."""
        if self._belonging is None:
            return True
        try:
            await self._belonging.check()
        except (OtherSystemError, nats.errors.Error, TimeoutError) as error:
            await self._deliveries.give_back(held)
            self._deliveries.unbind(str(error) or type(error).__name__)
            return False
        except Stopped:
            await self._deliveries.give_back(held)
            raise
        return True

    async def _portion(self, first: Delivery) -> tuple[Portion, list[Delivery]]:
        portion, held = Portion(self._reader), list[Delivery]()
        await self._take(first, portion, held)
        taken = 1
        until = self._committed_at + self._linger_s
        while len(portion) < self._batch_events and taken < self._batch_messages:
            left_s = until - asyncio.get_running_loop().time()
            more = self._deliveries.arrived() or await self._deliveries.next(within_s=left_s)
            if more is None:
                break
            await self._take(more, portion, held)
            taken += 1
        return portion, held

    async def _take(self, delivery: Delivery, portion: Portion, held: list[Delivery]) -> None:
        """Adds it to the portion, or leaves it to a newer worker."""
        message = delivery.message
        try:
            delivery.add_to(portion)
        except UnknownVersionError as error:
            partition = partition_of_subject(message.subject)
            in_s = self._stops.wait(partition, message.data, error, sequence=delivery.sequence)
            await self._deliveries.put_off([delivery], for_s=in_s)
        else:
            held.append(delivery)
