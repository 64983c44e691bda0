"""The end of a link whose client is still at its first connection."""

import asyncio

import pytest

from pkg.runtime import nats_link as links
from pkg.runtime.background import ended
from pkg.runtime.nats_link import nats_link
from pkg.runtime.settings.sections import NatsSettings
from pkg.trials.waiting import until


class Deaf:
    """Tries to connect until it is cancelled; the first time it takes that for a failed try."""

    def __init__(self) -> None:
        self.tries = 0
        self.closed = 0

    async def connect(self, **_: object) -> None:
        self.tries += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.tries > 1:
                raise
            raise ConnectionRefusedError from None

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> Deaf:
    deaf = Deaf()
    monkeypatch.setattr(links._Client, "connect", deaf.connect)
    monkeypatch.setattr(links._Client, "close", deaf.close)
    return deaf


async def test_a_link_ends_though_its_client_swallows_a_cancellation(deaf: Deaf) -> None:
    """As wait_for does on Python 3.11 with one that meets the end of a try."""
    async with asyncio.timeout(15), nats_link(NatsSettings(nats_url="nats://a"), name="test"):
        await until(lambda: deaf.tries, within_s=5)

    assert (deaf.tries, deaf.closed) == (2, 1)


async def test_a_link_whose_end_is_broken_off_closes_its_client_all_the_same(deaf: Deaf) -> None:
    async def use() -> None:
        async with nats_link(NatsSettings(nats_url="nats://a"), name="test"):
            await asyncio.Event().wait()

    using = asyncio.create_task(use())
    await until(lambda: deaf.tries, within_s=5)

    await ended(using, again_s=0.1)

    assert deaf.closed == 1
