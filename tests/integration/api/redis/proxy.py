"""A TCP proxy that can drop a server's replies, as a failing network does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.tcp import listening

COPY_BYTES = 65536


@dataclass
class Proxy:
    """Stands in front of one server."""

    host: str
    port: int
    swallows_from: bytes | None = None
    """Once a client sends this, its connection's replies are dropped; requests still pass."""

    swallowed: int = 0
    heard: bytearray = field(default_factory=bytearray)
    """Everything that clients sent."""

    address: str = ""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def connections(self) -> int:
        return len(self._writers) // 2

    def cut(self) -> None:
        """Closes every connection on both sides."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection(self.host, self.port)
        self._writers |= {writer, behind_writer}
        deaf = asyncio.Event()
        there = asyncio.create_task(self._forward(reader, behind_writer, deaf))
        back = asyncio.create_task(self._back(behind_reader, writer, deaf))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (there, back):
                task.cancel()
            for one in (writer, behind_writer):
                one.transport.abort()
                self._writers.discard(one)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(COPY_BYTES):
                self.heard += data
                if self.swallows_from is not None and self.swallows_from in data:
                    deaf.set()
                writer.write(data)
                await writer.drain()

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(COPY_BYTES):
                if deaf.is_set():
                    self.swallowed += len(data)
                    continue
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the server in the URL; it listens on ``address``."""
    parts = urlsplit(url)
    one = Proxy(parts.hostname or "127.0.0.1", parts.port or 0)
    async with listening(one.serve) as port:
        one.address = f"127.0.0.1:{port}"
        yield one
