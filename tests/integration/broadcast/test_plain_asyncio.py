"""Services run on uvloop; the same code holds on asyncio's own loop, whose transports differ."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from pkg.broadcast.app import serve
from pkg.broadcast.settings import BroadcastSettings
from pkg.runtime.settings.parsers import Address
from pkg.trials.waiting import until
from tests.integration.broadcast.house import House
from tests.integration.broadcast.raw import RawViewers
from tests.integration.broadcast.seats import Seats
from tests.integration.processes import Service
from tests.integration.providers import Stores


@dataclass
class Here:
    service: Service
    stop: asyncio.Event
    serving: asyncio.Task[int]


@pytest.fixture
async def here(stores: Stores) -> AsyncIterator[Here]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = BroadcastSettings(
            server_addr=Address(fd=listening.fileno()),
            redis_url=stores.redis_url,
            nats_url=stores.nats_url,
            viewer_buffer_bytes=16384,
            viewer_socket_bytes=16384,
            slow_viewer_s=1.0,
        )
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(settings, stop))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield Here(Service("broadcast", url), stop, serving)
        stop.set()
        assert await serving == 0


async def test_viewers_come_stall_vanish_and_are_seen_off_as_on_uvloop(
    here: Here, house: House, seats: Seats, raw: RawViewers
) -> None:
    steady = await raw.connect(here.service, "lamp")
    stalled = await raw.connect(here.service, "lamp", receive_bytes=4096)
    reading = asyncio.create_task(steady.read_until(b'"seq":1000}'))

    for number in range(100):
        await house.bid("lamp", count=10, user="u" * 100)
        if number % 5 == 0:
            (await raw.connect(here.service, "lamp")).close()
    await reading

    async def given_up() -> bool:
        return await seats.metric(here.service, "bid_slow_viewers_closed_total") == 1

    await until(given_up, within_s=5)
    await stalled.read_to_end()
    here.stop.set()
    await steady.read_to_end()

    assert [message["seq"] for message in steady.messages()] == list(range(1001))
    assert steady.close_code() == 1001
    assert stalled.close_code() == 1013
