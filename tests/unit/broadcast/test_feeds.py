import asyncio
from typing import cast

from nats.aio.client import Client

from pkg.broadcast.feeds import INBOX_BYTES, INBOX_MESSAGES, Feed, Inbox
from pkg.broadcast.metrics import Counts


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
