"""Acknowledgements and in-progress acknowledgements after a reconnect."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from nats.aio.client import Client
from nats.aio.msg import Msg

from pkg.archival.deliveries import Deliveries
from pkg.runtime.nats_link import NatsLink
from pkg.trials.waiting import until


class FakeClient:
    max_payload = 1024 * 1024

    def __init__(self) -> None:
        self.pulls = 0
        self.sent: list[tuple[str, bytes]] = []
        self.receive: Callable[[Msg], object] | None = None

    def new_inbox(self) -> str:
        return "_INBOX"

    async def subscribe(self, _: str, *, cb: Callable[[Msg], object], **__: int) -> object:
        self.receive = cb
        return object()

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        self.pulls += bool(reply)
        if not reply:
            self.sent.append((subject, data))

    async def deliver(self, *, reply: str) -> None:
        message = Msg(cast("Client", None), subject="bid.events.p00", reply=reply)
        await cast("asyncio.Future[None]", self.receive and self.receive(message))


class FakeLink:
    connected = True

    def __init__(self) -> None:
        self.client = FakeClient()
        self.reconnected: list[Callable[[], None]] = []

    def on_connect(self, watcher: Callable[[], None]) -> None:
        self.reconnected.append(watcher)


async def test_messages_from_before_a_reconnect_are_not_acknowledged_after_it() -> None:
    """A server that lost its tail reuses the sequences and resets the consumer (seen with 2.15.1):
    an old acknowledgement would acknowledge a new message.
    """
    link = FakeLink()

    async def ensure() -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    deliveries = Deliveries(cast("NatsLink", link), ensure, batch=3)
    taking = asyncio.create_task(deliveries.next(within_s=5))
    await until(lambda: link.client.pulls == 1, within_s=5)
    await link.client.deliver(reply="$JS.ACK.BID_EVENTS.archival-worker.1.9.1.1.0")
    delivery = await taking
    assert delivery is not None

    link.reconnected[0]()
    assert await deliveries.next(within_s=0.05) is None
    assert link.client.pulls == 2
    await deliveries.acknowledge([delivery])

    assert link.client.sent == []


async def test_messages_from_before_a_reconnect_are_not_kept_in_progress_after_it() -> None:
    link = FakeLink()

    async def ensure() -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    deliveries = Deliveries(cast("NatsLink", link), ensure, batch=3)
    keeping = asyncio.create_task(deliveries.keep_in_progress(every_s=0.01))
    taking = asyncio.create_task(deliveries.next(within_s=5))
    await until(lambda: link.client.pulls == 1, within_s=5)
    await link.client.deliver(reply="$JS.ACK.BID_EVENTS.archival-worker.1.9.1.1.0")
    await taking
    await until(
        lambda: ("$JS.ACK.BID_EVENTS.archival-worker.1.9.1.1.0", b"+WPI") in link.client.sent,
        within_s=5,
    )

    link.reconnected[0]()
    link.client.sent.clear()
    await link.client.deliver(reply="$JS.ACK.10")

    await until(lambda: len(link.client.sent) >= 3, within_s=5)
    assert set(link.client.sent) == {("$JS.ACK.10", b"+WPI")}
    keeping.cancel()
