"""Viewers on a bare socket: the test decides when they read, and sees every frame."""

import asyncio
import base64
import json
import os
import socket
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from tests.integration.processes import Service

TEXT, CLOSE, PING = 1, 8, 9


class RawViewer:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()

    async def handshake(
        self, service: Service, item_id: str, *, query: str, receive_bytes: int | None
    ) -> None:
        where = urlsplit(service.url)
        self._connection.setblocking(False)
        if receive_bytes is not None:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._connection, (where.hostname, where.port))
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET /ws/items/{item_id}{query} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        )
        await self.send(request.encode())
        while b"\r\n\r\n" not in self._received:
            assert await self.read(), "closed during the handshake"
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        self._received = bytearray(rest)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._connection, data)

    async def send_text(self, payload: bytes) -> None:
        """Sends one text frame of at most 65535 bytes, masked with zeros."""
        await self.send(bytes((0x81, 0xFE)) + len(payload).to_bytes(2, "big") + bytes(4) + payload)

    async def read(self) -> bool:
        """Reads once. False at the end of the connection."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._connection, 1 << 18)
        except ConnectionResetError:
            return False
        self._received += data
        return bool(data)

    async def read_until(self, mark: bytes, *, within_s: float = 20.0) -> None:
        async with asyncio.timeout(within_s):
            looked = 0
            while self._received.find(mark, max(0, looked - len(mark))) < 0:
                looked = len(self._received)
                assert await self.read(), f"ended before {mark!r}; {self.frames()[-1:]}"

    async def read_to_end(self, *, within_s: float = 10.0) -> None:
        async with asyncio.timeout(within_s):
            while await self.read():
                pass

    def frames(self) -> list[tuple[int, bytes]]:
        return list(self._frames())

    def messages(self) -> list[dict[str, Any]]:
        return [
            json.loads(payload, parse_float=Decimal)
            for opcode, payload in self._frames()
            if opcode == TEXT
        ]

    def close_code(self) -> int | None:
        for opcode, payload in self._frames():
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big")
        return None

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """The complete frames received so far. Fails on malformed ones."""
        data, at = bytes(self._received), 0
        while at + 2 <= len(data):
            assert data[at] & 0xF0 == 0x80, f"not a final frame at {at}: {data[at : at + 20]!r}"
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if start + size > len(data):
                return
            yield data[at] & 0x0F, data[start : start + size]
            at = start + size

    def close(self) -> None:
        self._connection.close()


class RawViewers:
    """Connects viewers and closes all of them, also when the test fails."""

    def __init__(self) -> None:
        self._viewers: list[RawViewer] = []

    async def connect(
        self, service: Service, item_id: str, *, query: str = "", receive_bytes: int | None = None
    ) -> RawViewer:
        """Returns after the handshake, without reading on."""
        viewer = RawViewer(socket.socket())
        self._viewers.append(viewer)
        await viewer.handshake(service, item_id, query=query, receive_bytes=receive_bytes)
        return viewer

    def close(self) -> None:
        for viewer in self._viewers:
            viewer.close()
