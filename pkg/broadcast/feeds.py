"""Batches of events from NATS, by one core subscription for each watched partition."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from pkg.auction.events import UndecodableError, decode_batch
from pkg.auction.outbox import OutboxId
from pkg.auction.subjects import events_subject
from pkg.broadcast.channel import Channel, Reads
from pkg.broadcast.item_view import Event
from pkg.broadcast.metrics import Counts
from pkg.runtime import logs
from pkg.runtime.nats_link import NatsLink

INBOX_MESSAGES = 4096
INBOX_BYTES = 16 * 1024 * 1024
"""Most that may wait. Beyond it messages are dropped and their items are read from Redis."""
LINGER_S = 5.0
"""How long an unused subscription is kept, because viewers often come back."""
_ANSWER_S = 2

log = logs.get("feeds")


class Feed:
    """A partition's subscription and the channels that it feeds."""

    def __init__(self, partition: str, client: Client, inbox: "Inbox") -> None:
        self.partition = partition
        self.channels: dict[str, Channel] = {}
        self.last: OutboxId | None = None
        """Outbox id up to which batches were received."""
        self._client = client
        self._inbox = inbox
        self._subscription: Subscription | None = None
        self._attached = False
        self.losses = 0
        """How often ``lost`` was called: what was under way then says nothing about now."""
        self._failed_at = float("-inf")
        self._changing = asyncio.Lock()

    async def attach(self) -> bool:
        """Subscribes if we are not subscribed; returns True if we are now and were not before.

        A read of Redis that starts afterwards, plus the events received, miss nothing. Returns
        False while NATS is down, and if the connection was ``lost`` meanwhile; called again when it
        reconnects.
        """
        if self._attached:
            return False
        now = asyncio.get_running_loop().time
        async with self._changing:
            if self._attached or not self._client.is_connected:
                return False
            if now() - self._failed_at < _ANSWER_S:
                return False  # another caller has just waited for NATS in vain
            losses = self.losses
            try:
                if self._subscription is None:
                    self._subscription = await self._client.subscribe(
                        events_subject(self.partition), cb=self._received
                    )
                await self._client.flush(timeout=_ANSWER_S)
            except (nats.errors.Error, TimeoutError, OSError) as error:
                if losses == self.losses:
                    self._failed_at = now()
                log.warning("not subscribed", partition=self.partition, error=str(error))
            else:
                self._attached = losses == self.losses
            return self._attached

    def lost(self) -> None:
        """After a reconnect: the client has subscribed again, but missed the events in between."""
        self._attached = False
        self.losses += 1
        self._failed_at = float("-inf")

    async def detach_idle(self) -> None:
        async with self._changing:
            if self.channels or self._subscription is None:
                return
            subscription, self._subscription = self._subscription, None
            self._attached = False
            self.last = None
            try:
                await subscription.unsubscribe()
            except (nats.errors.Error, OSError) as error:
                log.warning("not unsubscribed", partition=self.partition, error=str(error))

    async def _received(self, message: Msg) -> None:
        self._inbox.put(self, message.data)


class Inbox:
    """Messages between NATS' client and the task that tells viewers.

    The client's own task would swallow an error; the task that reads from here does not.
    """

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._messages: deque[tuple[Feed, bytes]] = deque()
        self._bytes = 0
        self._lossy: set[Feed] = set()
        self._some = asyncio.Event()

    def put(self, feed: Feed, data: bytes) -> None:
        if len(self._messages) >= INBOX_MESSAGES or self._bytes >= INBOX_BYTES:
            self._counts.inbox_dropped += 1
            self._lossy.add(feed)
        else:
            self._messages.append((feed, data))
            self._bytes += len(data)
        self._some.set()

    async def next(self) -> tuple[Feed, bytes]:
        while not self._messages:
            self._some.clear()
            await self._some.wait()
        feed, data = self._messages.popleft()
        self._bytes -= len(data)
        return feed, data

    def take_lossy(self) -> set[Feed]:
        lossy, self._lossy = self._lossy, set()
        return lossy


class Feeds:
    def __init__(
        self,
        link: NatsLink,
        reads: Reads,
        counts: Counts,
        *,
        make_stream: Callable[[], Awaitable[object]],
    ) -> None:
        self._client = link.client
        self._reads = reads
        self._counts = counts
        self._make_stream = make_stream
        self._inbox = Inbox(counts)
        self._feeds: dict[str, Feed] = {}
        self._reconnected = asyncio.Event()
        link.on_connect(self._reconnected.set)

    def of(self, partition: str) -> Feed:
        feed = self._feeds.get(partition)
        if feed is None:
            feed = self._feeds[partition] = Feed(partition, self._client, self._inbox)
        return feed

    async def run(self) -> None:
        """Passes messages on one at a time, and lets other tasks run in between."""
        while True:
            feed, data = await self._inbox.next()
            self._take(feed, data)
            for lossy in self._inbox.take_lossy():
                self._read_all(lossy)
            await asyncio.sleep(0)

    async def keep_attached(self) -> None:
        """Subscribes after every connect and reads what was missed; drops idle subscriptions."""
        # The NATS client swallows a cancellation that arrives during its flush.
        this = asyncio.current_task()
        while this is None or not this.cancelling():
            try:
                async with asyncio.timeout(LINGER_S):
                    await self._reconnected.wait()
            except TimeoutError:
                for feed in tuple(self._feeds.values()):
                    await feed.detach_idle()
                    if feed.channels and await feed.attach():
                        self._read_all(feed)
                continue
            self._reconnected.clear()
            for feed in tuple(self._feeds.values()):
                feed.lost()
                if feed.channels and await feed.attach():
                    self._read_all(feed)
            try:
                await self._make_stream()
            except (nats.errors.Error, TimeoutError, OSError) as error:
                # Viewers do not need the stream, and publishers create it too.
                log.warning("stream not made", error=str(error))

    def _take(self, feed: Feed, data: bytes) -> None:
        try:
            batch = decode_batch(data)
        except UndecodableError as error:
            self._counts.events_undecodable += 1
            log.warning("message cannot be read", partition=feed.partition, error=str(error))
            self._read_all(feed)
            return
        self._follow_chain(feed, OutboxId.parse(batch.prev), OutboxId.parse(batch.last))
        touched: dict[Channel, None] = {}
        for raw in batch.events:
            self._counts.events_received += 1
            try:
                event = Event.read(raw)
            except UndecodableError as error:
                self._counts.events_undecodable += 1
                log.warning("event cannot be read", partition=feed.partition, error=str(error))
                continue
            self._counts.events_of_unknown_kind += event.bid is None
            channel = feed.channels.get(event.item_id)
            if channel is not None:
                channel.event(event)
                touched[channel] = None
        for channel in touched:
            channel.flush()

    def _follow_chain(self, feed: Feed, prev: OutboxId, last: OutboxId) -> None:
        """If a batch begins after the end of the last one, a batch in between was missed."""
        if feed.last is None:
            feed.last = last
            return
        if prev > feed.last:
            self._counts.batches_missed += 1
            self._read_all(feed)
        feed.last = max(feed.last, last)

    def _read_all(self, feed: Feed) -> None:
        for channel in feed.channels.values():
            self._reads.ask(channel)
