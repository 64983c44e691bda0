"""The worker's loop: take, commit, acknowledge, announce. Messages are acknowledged only here."""

import asyncio
from functools import partial

from pkg.archival.announcer import Announcer
from pkg.archival.commit import commit
from pkg.archival.deliveries import Deliveries, Delivery
from pkg.archival.intake import Portion, Reader, partition_of_subject
from pkg.archival.metrics import ArchiveMetrics
from pkg.archival.stops import Stops
from pkg.archival.store import Stopped, Store, ping
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
                    await self._store.run(ping)
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
            portion.add(message.subject, message.data, sequence=delivery.sequence)
        except UnknownVersionError as error:
            partition = partition_of_subject(message.subject)
            in_s = self._stops.wait(partition, message.data, error)
            await self._deliveries.put_off([delivery], for_s=in_s)
        else:
            held.append(delivery)
