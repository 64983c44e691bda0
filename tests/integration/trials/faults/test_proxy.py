"""The proxy's network conditions, on an echo server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pkg.trials.faults.proxy import Proxy
from tests.tcp import listening


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
            await writer.drain()

    async with listening(handle) as port:
        yield port


async def _echoed(
    ends: tuple[asyncio.StreamReader, asyncio.StreamWriter], *, within_s: float = 15.0
) -> bytes:
    """Sends three bytes and returns the echo; empty if the connection ended."""
    reader, writer = ends
    writer.write(b"bid")
    async with asyncio.timeout(within_s):
        return await reader.read(3)


async def test_normal_proxy_forwards_both_ways(echo: int) -> None:
    async with Proxy(echo) as proxy:
        ends = await asyncio.open_connection("127.0.0.1", proxy.port)

        answer = await _echoed(ends)

        ends[1].close()
    assert answer == b"bid"


async def test_slow_proxy_delays_both_ways(echo: int) -> None:
    async with Proxy(echo) as proxy:
        ends = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.slow(delay_s=0.1)
        began = asyncio.get_running_loop().time()

        answer = await _echoed(ends)

        took_s = asyncio.get_running_loop().time() - began
        ends[1].close()
    assert answer == b"bid"
    assert took_s >= 0.2


async def test_half_open_connection_stays_dead_and_new_ones_work_afterwards(echo: int) -> None:
    async with Proxy(echo) as proxy:
        before = await asyncio.open_connection("127.0.0.1", proxy.port)
        await _echoed(before)
        proxy.half_open()
        during = await asyncio.open_connection("127.0.0.1", proxy.port)
        for dead in (before, during):
            with pytest.raises(TimeoutError):
                await _echoed(dead, within_s=0.2)

        proxy.restore()

        with pytest.raises(TimeoutError):
            await _echoed(before, within_s=0.2)
        after = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await _echoed(after) == b"bid"
        for ends in (before, during, after):
            ends[1].close()


async def test_resetting_proxy_resets_old_and_new_connections(echo: int) -> None:
    async with Proxy(echo) as proxy:
        old = await asyncio.open_connection("127.0.0.1", proxy.port)
        await _echoed(old)

        proxy.resetting(after_s=0.05)

        new = await asyncio.open_connection("127.0.0.1", proxy.port)
        for reader, writer in (old, new):
            with pytest.raises(ConnectionResetError):
                async with asyncio.timeout(15):
                    await reader.read(1)
            writer.close()


async def test_connection_to_a_store_that_is_down_ends(echo: int) -> None:
    async with Proxy(1) as proxy:  # nobody listens on port 1
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)

        async with asyncio.timeout(15):
            assert await reader.read(1) == b""

        writer.close()
