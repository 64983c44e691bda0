import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from nats.errors import Error as NatsError

from pkg.broadcast.audience import Audience, AudienceFullError, ItemUnreadableError
from pkg.broadcast.channel import Channel, Shared
from pkg.broadcast.fan_outs import FanOuts
from pkg.broadcast.feeds import Feeds
from pkg.broadcast.laggards import Laggards
from pkg.broadcast.metrics import Counts
from pkg.broadcast.sequencer import Patience
from pkg.runtime.nats_link import NatsLink
from pkg.trials.waiting import until
from tests.unit.broadcast.fake_transport import connected_viewer
from tests.unit.broadcast.history import event, item_view


class FakeNats:
    """A NATS client and its link; records calls, also those to `FakeReads`."""

    def __init__(self) -> None:
        self.is_connected = True
        self.calls: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.refuses = False

    @property
    def client(self) -> "FakeNats":
        return self

    def on_connect(self, watcher: Callable[[], None]) -> None:
        """Does nothing: this fake never reconnects."""

    async def make_stream(self) -> None:
        """Does nothing: the stream exists."""

    async def subscribe(self, subject: str, **_: object) -> str:
        self.calls.append(f"subscribe {subject}")
        return subject

    async def flush(self, **_: object) -> None:
        if self.refuses:
            raise NatsError
        await self.answers.wait()
        self.calls.append("flush")


class FakeReads:
    """Reads of Redis that the test answers."""

    def __init__(self, nats: FakeNats) -> None:
        self._nats = nats
        self.channels: list[Channel] = []
        self.epochs: dict[str, int] = {}

    def ask(self, channel: Channel) -> None:
        self._nats.calls.append("read")
        self.channels.append(channel)


class Harness:
    def __init__(self) -> None:
        self.nats = FakeNats()
        self.reads = FakeReads(self.nats)
        self.counts = Counts()
        self.channels: dict[str, Channel] = {}
        shared = Shared(
            reads=self.reads,
            fan_outs=FanOuts(),
            laggards=Laggards(slow_viewer_s=1, counts=self.counts),
            counts=self.counts,
            patience=Patience(gap_wait_s=1, confirm_s=1),
            conflate_s=1,
        )
        feeds = Feeds(
            cast("NatsLink", self.nats),
            self.reads,
            self.counts,
            make_stream=self.nats.make_stream,
        )
        self.audience = Audience(self.channels, shared, feeds, partitions=1, max_viewers=3)

    async def join(self) -> Channel:
        async with self.audience.channel("lamp") as channel:
            return channel


@pytest.fixture
async def harness() -> Harness:
    return Harness()


async def test_redis_is_read_only_after_nats_has_confirmed_the_subscription(
    harness: Harness,
) -> None:
    harness.nats.answers.clear()

    joining = asyncio.create_task(harness.join())
    await until(lambda: harness.nats.calls, within_s=2)
    harness.channels["lamp"].event(event(3))  # after the subscription, before the read
    before = list(harness.nats.calls)
    harness.nats.answers.set()
    await until(lambda: harness.reads.channels, within_s=2)
    viewer, transport = connected_viewer()
    harness.reads.channels[0].read(item_view(2), asked_at=None)
    (await joining).join(viewer)

    assert before == ["subscribe bid.events.p00"]
    assert harness.nats.calls == ["subscribe bid.events.p00", "flush", "read"]
    assert transport.seqs() == [3]


async def test_channel_is_removed_when_its_last_viewer_leaves(harness: Harness) -> None:
    joining = asyncio.create_task(harness.join())
    await until(lambda: harness.reads.channels, within_s=2)

    harness.reads.channels[0].read(item_view(2), asked_at=None)
    await joining

    assert not harness.channels


async def test_failed_read_refuses_all_viewers_that_wait_and_the_next_viewer_reads_again(
    harness: Harness,
) -> None:
    joining = [asyncio.create_task(harness.join()) for _ in range(2)]
    await until(lambda: len(harness.reads.channels) == 2, within_s=2)

    harness.reads.channels[0].unreadable()
    outcomes = await asyncio.gather(*joining, return_exceptions=True)
    again = asyncio.create_task(harness.join())
    await until(lambda: len(harness.reads.channels) == 3, within_s=2)
    harness.reads.channels[2].read(item_view(0), asked_at=None)
    await again

    assert [type(outcome) for outcome in outcomes] == [ItemUnreadableError] * 2
    assert harness.reads.channels[2] is not harness.reads.channels[0]


async def test_viewer_that_gives_up_does_not_cancel_the_read_for_the_others(
    harness: Harness,
) -> None:
    first, second = (asyncio.create_task(harness.join()) for _ in range(2))
    await until(lambda: len(harness.reads.channels) == 2, within_s=2)

    first.cancel()
    await asyncio.wait({first})
    harness.reads.channels[0].read(item_view(2), asked_at=None)
    channel = await second

    assert channel.sequencer.told == item_view(2)


async def test_viewers_that_still_wait_count_towards_the_limit(
    harness: Harness,
) -> None:
    joining = [asyncio.create_task(harness.join()) for _ in range(3)]
    await until(lambda: len(harness.reads.channels) == 3, within_s=2)

    with pytest.raises(AudienceFullError):
        await harness.join()

    harness.reads.channels[0].read(item_view(0), asked_at=None)
    await asyncio.gather(*joining)


async def test_viewers_are_let_in_without_nats(harness: Harness) -> None:
    harness.nats.refuses = True

    joining = asyncio.create_task(harness.join())
    await until(lambda: harness.reads.channels, within_s=2)
    harness.reads.channels[0].read(item_view(2), asked_at=None)

    assert (await joining).sequencer.told == item_view(2)
