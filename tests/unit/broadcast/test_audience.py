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
from tests.unit.broadcast.crowd import sit
from tests.unit.broadcast.history import event, standing


class Broker:
    """A NATS client and its link, that notes what it was asked."""

    def __init__(self) -> None:
        self.is_connected = True
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.refuses = False

    @property
    def client(self) -> "Broker":
        return self

    def on_connect(self, watcher: Callable[[], None]) -> None:
        """It never connects anew."""

    async def make_stream(self) -> None:
        """There is one."""

    async def subscribe(self, subject: str, **_: object) -> str:
        self.asked.append(f"subscribe {subject}")
        return subject

    async def flush(self, **_: object) -> None:
        if self.refuses:
            raise NatsError
        await self.answers.wait()
        self.asked.append("flush")


class Shelf:
    """Redis, read when the test says so."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.asked: list[Channel] = []

    def ask(self, channel: Channel) -> None:
        self._broker.asked.append("read")
        self.asked.append(channel)


class Evening:
    def __init__(self) -> None:
        self.broker = Broker()
        self.shelf = Shelf(self.broker)
        self.counts = Counts()
        self.channels: dict[str, Channel] = {}
        shared = Shared(
            reads=self.shelf,
            fan_outs=FanOuts(),
            laggards=Laggards(slow_viewer_s=1, counts=self.counts),
            counts=self.counts,
            patience=Patience(gap_wait_s=1, confirm_s=1),
            conflate_s=1,
        )
        feeds = Feeds(
            cast("NatsLink", self.broker),
            self.shelf,
            self.counts,
            make_stream=self.broker.make_stream,
        )
        self.audience = Audience(self.channels, shared, feeds, partitions=1, max_viewers=3)

    async def come(self) -> Channel:
        async with self.audience.channel("lamp") as channel:
            return channel


@pytest.fixture
async def evening() -> Evening:
    return Evening()


async def test_redis_is_read_only_after_nats_has_confirmed_the_subscription(
    evening: Evening,
) -> None:
    evening.broker.answers.clear()

    coming = asyncio.create_task(evening.come())
    await until(lambda: evening.broker.asked, within_s=2)
    evening.channels["lamp"].event(event(3))  # between the subscription and the reading
    before = list(evening.broker.asked)
    evening.broker.answers.set()
    await until(lambda: evening.shelf.asked, within_s=2)
    viewer, pipe = sit()
    evening.shelf.asked[0].read(standing(2), asked_at=None)
    (await coming).join(viewer)

    assert before == ["subscribe bid.events.p00"]
    assert evening.broker.asked == ["subscribe bid.events.p00", "flush", "read"]
    assert pipe.seqs() == [3]


async def test_channel_is_gone_with_its_last_viewer(evening: Evening) -> None:
    coming = asyncio.create_task(evening.come())
    await until(lambda: evening.shelf.asked, within_s=2)

    evening.shelf.asked[0].read(standing(2), asked_at=None)
    await coming

    assert not evening.channels


async def test_viewers_who_wait_for_a_reading_that_fails_are_refused_and_the_next_tries_anew(
    evening: Evening,
) -> None:
    coming = [asyncio.create_task(evening.come()) for _ in range(2)]
    await until(lambda: len(evening.shelf.asked) == 2, within_s=2)

    evening.shelf.asked[0].unreadable()
    outcomes = await asyncio.gather(*coming, return_exceptions=True)
    again = asyncio.create_task(evening.come())
    await until(lambda: len(evening.shelf.asked) == 3, within_s=2)
    evening.shelf.asked[2].read(standing(0), asked_at=None)
    await again

    assert [type(outcome) for outcome in outcomes] == [ItemUnreadableError] * 2
    assert evening.shelf.asked[2] is not evening.shelf.asked[0]


async def test_one_who_gives_up_waiting_does_not_take_the_others_answer_with_it(
    evening: Evening,
) -> None:
    first, second = (asyncio.create_task(evening.come()) for _ in range(2))
    await until(lambda: len(evening.shelf.asked) == 2, within_s=2)

    first.cancel()
    await asyncio.wait({first})
    evening.shelf.asked[0].read(standing(2), asked_at=None)
    channel = await second

    assert channel.sequencer.told == standing(2)


async def test_no_more_than_the_limit_are_let_in_and_those_who_wait_count(
    evening: Evening,
) -> None:
    coming = [asyncio.create_task(evening.come()) for _ in range(3)]
    await until(lambda: len(evening.shelf.asked) == 3, within_s=2)

    with pytest.raises(AudienceFullError):
        await evening.come()

    evening.shelf.asked[0].read(standing(0), asked_at=None)
    await asyncio.gather(*coming)


async def test_nats_that_does_not_answer_keeps_no_viewer_out(evening: Evening) -> None:
    evening.broker.refuses = True

    coming = asyncio.create_task(evening.come())
    await until(lambda: evening.shelf.asked, within_s=2)
    evening.shelf.asked[0].read(standing(2), asked_at=None)

    assert (await coming).sequencer.told == standing(2)
