"""A WebSocket that only listens: frames of a broadcaster, read by hand."""

import asyncio
import base64
import os
import socket
from collections.abc import Callable
from typing import Protocol, cast

_TEXT, _CLOSE, _PING = 1, 8, 9
_SHORT, _MEDIUM = 126, 127
_PONG = b"\x8a\x80\0\0\0\0"
"""Empty and masked with zeros."""
SMALL_BUFFER_BYTES = 4096


class Listener(Protocol):
    def opened(self) -> None:
        """The broadcaster has accepted the upgrade."""

    def heard(self, text: bytes) -> None: ...
    def ended(self) -> None:
        """The connection is gone, whoever closed it."""


class WebSocket(asyncio.Protocol):
    def __init__(self, path: str, listener: Listener) -> None:
        self._path = path
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._upgraded = False
        self.refused: bytes | None = None
        """The first line of an answer that was no upgrade."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if not self._upgraded:
            head, end, rest = buffer.partition(b"\r\n\r\n")
            if not end:
                self._buffer = buffer
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.refused = head.split(b"\r\n", 1)[0]
                self.close()
                return
            self._upgraded = True
            buffer = rest
            self._listener.opened()
        self._buffer = self._take(buffer)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._listener.ended()

    def stop_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _take(self, buffer: bytes) -> bytes:
        """Hands on every whole frame; returns the rest. A server's frames are not masked."""
        at, size = 0, len(buffer)
        while size - at >= 2:  # noqa: PLR2004 - a frame's least
            length, head = buffer[at + 1], 2
            if length == _SHORT:
                length, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
            elif length == _MEDIUM:
                length, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
            if size - at < head + length:
                break
            kind, body = buffer[at] & 15, buffer[at + head : at + head + length]
            at += head + length
            if kind == _TEXT:
                self._listener.heard(body)
            elif kind == _PING and self._transport is not None:
                self._transport.write(_PONG)
            elif kind == _CLOSE:
                self.close()
        return buffer[at:]


async def connect(
    host: str, port: int, make: Callable[[], WebSocket], *, small_buffer: bool = False
) -> None:
    """Returns when TCP is connected. A small buffer makes the sender feel at once that we do not
    read.
    """
    loop = asyncio.get_running_loop()
    if not small_buffer:
        await loop.create_connection(make, host, port)
        return
    raw = socket.socket()
    try:
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        await loop.sock_connect(raw, (host, port))
    except BaseException:
        raw.close()
        raise
    await loop.create_connection(make, sock=raw)
