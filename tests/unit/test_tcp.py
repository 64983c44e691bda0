"""A server of a test takes its connections with it, so no later test is blamed for an open one."""

import asyncio
import socket

import pytest

from tests.tcp import listening


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_came_at_the_end_is_closed(turns: int) -> None:
    async with listening(_never_ends) as port:
        client = socket.create_connection(("127.0.0.1", port), timeout=0.5)
        for _ in range(turns):  # of the loop, which takes some to make a connection
            await asyncio.sleep(0)

    with client:
        assert _is_over(client)


async def test_connections_end_with_the_server() -> None:
    async with listening(_never_ends) as port:
        client = socket.create_connection(("127.0.0.1", port), timeout=5)
        client.send(b"hello")
        assert await asyncio.to_thread(client.recv, 5) == b"hello"

    with client:
        assert _is_over(client)


async def test_what_went_wrong_in_a_connection_is_raised_at_the_end() -> None:
    async def fails(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        raise ValueError("no such command")

    async def connects() -> None:
        async with listening(fails) as port:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                assert await asyncio.to_thread(client.recv, 1) == b""

    with pytest.raises(ValueError, match="no such command"):
        await connects()


async def _never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(5))
    await asyncio.Event().wait()


def _is_over(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
