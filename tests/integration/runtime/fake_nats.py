"""A NATS server that says hello, and may be rude about it; or a rude one before a real one."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from tests.tcp import listening

_INFO = {
    "server_id": "fake",
    "version": "2.10.0",
    "proto": 1,
    "headers": True,
    "max_payload": 1048576,
}


class Reset(StrEnum):
    """When in its handshake a connection is reset."""

    ACCEPTED = "accepted"
    GREETED = "greeted"
    HEARD = "heard"


@dataclass
class FakeNats:
    """Greets, and answers PING; what else it is told it keeps."""

    behind: tuple[str, int] | None = None
    """Where a connection goes on to that was not reset; None: nowhere, this is the server."""

    resets: list[Reset] = field(default_factory=list)
    """What is done to the next connections, first to last; those behind them are served."""

    password: str | None = None
    """Who says another is refused."""

    away: bool = False
    """Every connection is reset when it comes."""

    hold: Callable[[bool], None] = lambda _held: None
    """Stops the peer while it is greeted and reset (True), and lets it go on (False): it finds
    both at once, and writes to a connection that is closed already.
    """

    port: int = 0
    served: int = 0
    refused: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def say(self, line: bytes) -> None:
        """To everybody who is connected."""
        for writer in self._writers:
            writer.write(line + b"\r\n")

    def cut(self) -> None:
        """Resets every connection."""
        for writer in tuple(self._writers):
            _reset(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset = self.resets.pop(0) if self.resets else None
        if self.away or reset is Reset.ACCEPTED:
            _reset(writer)
            return
        if self.behind and reset is None:
            await self._pass_on(reader, writer, self.behind)
            return
        if reset is Reset.GREETED:
            self.hold(True)
        writer.write(b"INFO %b\r\n" % json.dumps(_INFO).encode())
        await writer.drain()
        if reset is Reset.GREETED:
            _reset(writer)
            asyncio.get_running_loop().call_soon(self.hold, False)
            return
        await self._talk(reader, writer, reset)

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reset: Reset | None
    ) -> None:
        while line := await reader.readline():
            if reset is not None:
                _reset(writer)
                return
            if line.startswith(b"CONNECT"):
                said = json.loads(line.removeprefix(b"CONNECT"))
                if self.password is not None and said.get("pass") != self.password:
                    self.refused += 1
                    writer.write(b"-ERR 'Authorization Violation'\r\n")
                    await writer.drain()
                    writer.close()
                    return
                self.served += 1
                self._writers.add(writer)
            elif line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        self._writers.discard(writer)
        writer.close()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        behind: tuple[str, int],
    ) -> None:
        there_reader, there_writer = await asyncio.open_connection(*behind)
        self._writers |= {writer, there_writer}
        self.served += 1
        ways = {
            asyncio.ensure_future(_copy(reader, there_writer)),
            asyncio.ensure_future(_copy(there_reader, writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for one in (writer, there_writer):
                one.transport.abort()
                self._writers.discard(one)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST, not FIN: what the peer writes next fails."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def fake_nats(behind: str | None = None) -> AsyncIterator[FakeNats]:
    """``behind`` is the URL of a real server."""
    parts = urlsplit(behind or "")
    one = FakeNats(behind=(parts.hostname, parts.port) if parts.hostname and parts.port else None)
    async with listening(one.serve) as one.port:
        yield one
