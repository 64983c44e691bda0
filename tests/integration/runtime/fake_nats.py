"""A fake NATS server, or a proxy of a real one, that resets connections during the handshake."""

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
    """The step of the handshake after which a connection is reset."""

    ACCEPTED = "accepted"
    GREETED = "greeted"
    HEARD = "heard"


@dataclass
class FakeNats:
    """Answers CONNECT and PING, and ignores everything else."""

    upstream: tuple[str, int] | None = None
    """The real server to which connections are forwarded unless reset. None: this is the server."""

    resets: list[Reset] = field(default_factory=list)
    """Resets of the next connections, in order; later connections are served."""

    password: str | None = None
    """If set, a client with another password is refused."""

    away: bool = False
    """Whether every new connection is reset at once."""

    pause_client: Callable[[bool], None] = lambda _stopped: None
    """Stops the client (True) before it is greeted and reset, and continues it (False) afterwards,
    so that the client reads the greeting and writes to a connection that is already closed.
    """

    port: int = 0
    served: int = 0
    refused: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def send_line(self, line: bytes) -> None:
        """Sends a line to every connected client."""
        for writer in self._writers:
            writer.write(line + b"\r\n")

    def reset_all(self) -> None:
        """Resets every connection."""
        for writer in tuple(self._writers):
            _reset(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset = self.resets.pop(0) if self.resets else None
        if self.away or reset is Reset.ACCEPTED:
            _reset(writer)
            return
        if self.upstream and reset is None:
            await self._forward(reader, writer, self.upstream)
            return
        if reset is Reset.GREETED:
            self.pause_client(True)
        writer.write(b"INFO %b\r\n" % json.dumps(_INFO).encode())
        await writer.drain()
        if reset is Reset.GREETED:
            _reset(writer)
            asyncio.get_running_loop().call_soon(self.pause_client, False)
            return
        await self._serve_client(reader, writer, reset)

    async def _serve_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reset: Reset | None
    ) -> None:
        while line := await reader.readline():
            if reset is not None:
                _reset(writer)
                return
            if line.startswith(b"CONNECT"):
                options = json.loads(line.removeprefix(b"CONNECT"))
                if self.password is not None and options.get("pass") != self.password:
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

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: tuple[str, int],
    ) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*upstream)
        self._writers |= {writer, upstream_writer}
        self.served += 1
        copies = {
            asyncio.ensure_future(_copy(reader, upstream_writer)),
            asyncio.ensure_future(_copy(upstream_reader, writer)),
        }
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            for each in (writer, upstream_writer):
                each.transport.abort()
                self._writers.discard(each)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Sends RST, not FIN, so that the peer's next write fails."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def fake_nats(upstream: str | None = None) -> AsyncIterator[FakeNats]:
    """``upstream`` is the URL of a real server to forward to."""
    parts = urlsplit(upstream or "")
    server = FakeNats(
        upstream=(parts.hostname, parts.port) if parts.hostname and parts.port else None
    )
    async with listening(server.serve) as server.port:
        yield server
