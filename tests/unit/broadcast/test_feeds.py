import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from pkg.broadcast.channel import Channel
from pkg.broadcast.feeds import INBOX_BYTES, INBOX_MESSAGES, Feed, Feeds, Inbox
from pkg.broadcast.metrics import Counts
from pkg.runtime.background import ended
from pkg.runtime.nats_link import NatsLink
from pkg.trials.waiting import until


def inbox_and_feed() -> tuple[Inbox, Feed, Counts]:
    counts = Counts()
    inbox = Inbox(counts)
    return inbox, Feed("p00", cast("Client", None), inbox), counts


async def test_full_inbox_drops_messages_and_reports_the_feed_as_lossy() -> None:
    inbox, feed, counts = inbox_and_feed()

    for _ in range(INBOX_MESSAGES + 3):
        inbox.put(feed, b"{}")

    assert counts.inbox_dropped == 3
    assert inbox.take_lossy() == {feed}
    assert inbox.take_lossy() == set()


async def test_inbox_is_bounded_in_bytes_and_reading_frees_room() -> None:
    inbox, feed, counts = inbox_and_feed()

    inbox.put(feed, b"x" * INBOX_BYTES)
    inbox.put(feed, b"dropped")
    async with asyncio.timeout(1):
        await inbox.next()
    inbox.put(feed, b"kept")

    assert counts.inbox_dropped == 1
    assert (await inbox.next())[1] == b"kept"


class FakeNats:
    """NATS' client and the link to it. The test answers each flush, in any order."""

    is_connected = True

    def __init__(self) -> None:
        self.client = self
        self.flushes: list[asyncio.Future[None]] = []
        self.reconnect: Callable[[], None] = lambda: None
        self.deliver: Callable[[Msg], object] = lambda _: None

    def on_connect(self, call: Callable[[], None]) -> None:
        self.reconnect = call

    async def subscribe(self, subject: str, *, cb: Callable[[Msg], object]) -> object:
        del subject
        self.deliver = cb
        return object()

    async def flush(self, timeout: float) -> None:  # noqa: ASYNC109 - the client's own name
        del timeout
        self.flushes.append(asyncio.get_running_loop().create_future())
        await self.flushes[-1]


MESSAGE = SimpleNamespace(data=b"unreadable")


class FakeReads:
    def __init__(self) -> None:
        self.asked: list[object] = []
        self.epochs: dict[str, int] = {}

    def ask(self, channel: Channel) -> None:
        self.asked.append(channel)


@asynccontextmanager
async def watched_feed() -> AsyncIterator[tuple[FakeNats, FakeReads, Feed]]:
    """A feed with one channel, kept attached."""
    nats, reads = FakeNats(), FakeReads()

    async def make_stream() -> None: ...

    feeds = Feeds(cast("NatsLink", nats), reads, Counts(), make_stream=make_stream)
    feed = feeds.of("p00")
    feed.channels["vase"] = cast("Channel", SimpleNamespace(item_id="vase"))
    tasks = [asyncio.create_task(each) for each in (feeds.keep_attached(), feeds.run())]
    try:
        yield nats, reads, feed
    finally:
        for task in tasks:
            await ended(task)


@pytest.mark.parametrize("answer", ["done", "too late"])
async def test_a_reconnect_is_not_healed_by_an_attach_that_was_under_way(answer: str) -> None:
    async with watched_feed() as (nats, reads, feed):
        older = asyncio.create_task(feed.attach())
        await until(lambda: len(nats.flushes) == 1, within_s=5)
        losses = feed.losses
        nats.reconnect()
        await until(lambda: feed.losses > losses, within_s=5)

        if answer == "done":
            nats.flushes[0].set_result(None)
        else:
            nats.flushes[0].set_exception(TimeoutError())

        assert await older is False
        await until(lambda: len(nats.flushes) == 2, within_s=2)
        assert reads.asked == []
        nats.flushes[1].set_result(None)
        await until(lambda: reads.asked == list(feed.channels.values()), within_s=5)
        assert await feed.attach() is False  # it is attached


async def test_messages_dropped_during_an_attach_are_read_though_it_ends_well() -> None:
    async with watched_feed() as (nats, reads, _):
        nats.reconnect()
        await until(lambda: len(nats.flushes) == 1, within_s=5)

        for _ in range(INBOX_MESSAGES + 1):
            await cast("asyncio.Future[None]", nats.deliver(cast("Msg", MESSAGE)))
        nats.flushes[0].set_result(None)

        # Once at the end of the attach, once for each unreadable message, and once for the drop.
        await until(lambda: len(reads.asked) == INBOX_MESSAGES + 2, within_s=20)
