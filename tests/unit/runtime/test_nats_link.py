"""Closing a link whose client is still connecting for the first time, and flushing a lost one."""

import asyncio

import nats.errors
import pytest

from pkg.runtime import nats_link as links
from pkg.runtime.background import ended
from pkg.runtime.nats_link import nats_link
from pkg.runtime.settings.sections import NatsSettings
from pkg.trials.waiting import until


class NeverConnects:
    """Connects until cancelled, and turns the first cancellation into a failed attempt."""

    def __init__(self) -> None:
        self.attempts = 0
        self.closed = 0
        self.waits: list[object] = []

    async def connect(self, **options: object) -> None:
        self.attempts += 1
        self.waits.append(options["reconnect_time_wait"])
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.attempts > 1:
                raise
            raise ConnectionRefusedError from None

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> NeverConnects:
    client = NeverConnects()
    monkeypatch.setattr(links._Client, "connect", client.connect)
    monkeypatch.setattr(links._Client, "close", client.close)
    return client


async def test_link_closes_when_its_client_swallows_a_cancellation(client: NeverConnects) -> None:
    """wait_for does so on Python 3.11 if the attempt ends at the same time."""
    async with asyncio.timeout(15), nats_link(NatsSettings(nats_url="nats://a"), name="test"):
        await until(lambda: client.attempts, within_s=5)

    assert (client.attempts, client.closed) == (2, 1)


async def test_link_whose_close_is_cancelled_still_closes_its_client(client: NeverConnects) -> None:
    async def use() -> None:
        async with nats_link(NatsSettings(nats_url="nats://a"), name="test"):
            await asyncio.Event().wait()

    using = asyncio.create_task(use())
    await until(lambda: client.attempts, within_s=5)

    await ended(using, again_s=0.1)

    assert client.closed == 1


async def test_links_that_lose_a_server_together_do_not_come_back_in_step(
    client: NeverConnects,
) -> None:
    settings = NatsSettings(nats_url="nats://a")
    async with nats_link(settings, name="one"), nats_link(settings, name="other"):
        await until(lambda: client.attempts == 2, within_s=5)

    one, other, *_ = client.waits
    assert one != other


class Reset:
    """A transport of uvloop that the peer has reset."""

    def write(self, _: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")


async def test_flush_on_a_connection_that_was_reset_fails_with_an_error_of_nats() -> None:
    client = links._Client()
    client._transport = Reset()  # type: ignore[assignment]
    alive = asyncio.create_task(asyncio.Event().wait())
    client._reading_task = client._flusher_task = alive

    with pytest.raises(nats.errors.ConnectionClosedError):
        await client.flush(timeout=1)

    await ended(alive)
