"""Services run on uvloop. The code must also work on asyncio's loop, whose transports differ."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from pkg.broadcast.app import serve
from pkg.broadcast.settings import BroadcastSettings
from pkg.devkit.names import BROADCAST
from pkg.runtime.settings.parsers import Address
from pkg.trials.waiting import until
from tests.integration.broadcast.fake_api import FakeApi
from tests.integration.broadcast.raw import RawViewers
from tests.integration.broadcast.viewers import Viewers
from tests.integration.processes import Service
from tests.integration.providers import Stores


@dataclass
class InProcess:
    service: Service
    stop: asyncio.Event
    serving: asyncio.Task[int]


@pytest.fixture
async def in_process(stores: Stores) -> AsyncIterator[InProcess]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = BroadcastSettings(
            server_addr=Address(fd=listening.fileno()),
            redis_url=stores.redis_url,
            **stores.nats_of(BROADCAST),
            viewer_buffer_bytes=16384,
            viewer_socket_bytes=16384,
            slow_viewer_s=1.0,
        )
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(settings, stop))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield InProcess(Service("broadcast", url), stop, serving)
        stop.set()
        assert await serving == 0


async def test_stalled_and_vanished_viewers_and_shutdown_are_handled_as_on_uvloop(
    in_process: InProcess, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    steady = await raw.connect(in_process.service, "lamp")
    stalled = await raw.connect(in_process.service, "lamp", receive_bytes=4096)
    reading = asyncio.create_task(steady.read_until(b'"seq":1000}'))

    for number in range(100):
        await api.bid("lamp", count=10, user="u" * 100)
        if number % 5 == 0:
            (await raw.connect(in_process.service, "lamp")).close()
    await reading

    async def closed_as_slow() -> bool:
        return await viewers.metric(in_process.service, "bid_slow_viewers_closed_total") == 1

    await until(closed_as_slow, within_s=5)
    await stalled.read_to_end()
    in_process.stop.set()
    await steady.read_to_end()

    assert [message["seq"] for message in steady.messages()] == list(range(1001))
    assert steady.close_code() == 1001
    assert stalled.close_code() == 1013
