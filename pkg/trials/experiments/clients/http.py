"""One keep-alive connection with one request in flight."""

import asyncio
from collections.abc import Callable
from typing import cast

RECONNECT_AFTER_S = 0.1

Answer = Callable[[int, bytes], None]
"""Takes status and body; status 0: the connection ended without an answer."""


class Connection(asyncio.Protocol):
    """Connects again by itself, until it is closed."""

    def __init__(self, host: str, port: int, *, opened: Callable[[], None]) -> None:
        """`opened` is called whenever a request can be sent after none could."""
        self._at = (host, port)
        self._opened = opened
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._buffer = b""
        self._closed = False
        self._connecting: asyncio.Task[None] | None = None

    def connect(self, *, after_s: float = 0.0) -> None:
        self._connecting = asyncio.get_running_loop().create_task(self._connect(after_s))

    def ask(self, request: bytes, answer: Answer) -> None:
        """Only when opened, and nothing is in flight."""
        assert self._transport is not None  # noqa: S101 - the caller was told
        self._answer = answer
        self._transport.write(request)

    def close(self) -> None:
        """An answer in flight will not come any more: it is told as none."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = opened = cast("asyncio.Transport", transport)
        self._buffer = b""
        if self._closed:
            opened.abort()
        else:
            self._opened()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self._buffer = b""
        answer, self._answer = self._answer, None
        if answer is None:  # an answer that nobody asked for, such as a 408
            return
        if b"onnection: close" in head and self._transport is not None:
            self._transport.abort()
            self._transport = None
        answer(int(head[9:12]), body)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(0, b"")
        if not self._closed:
            self.connect(after_s=RECONNECT_AFTER_S)

    @property
    def open(self) -> bool:
        return self._transport is not None

    async def _connect(self, after_s: float) -> None:
        loop = asyncio.get_running_loop()
        while not self._closed:
            await asyncio.sleep(after_s)
            try:
                await loop.create_connection(lambda: self, *self._at)
            except OSError:
                after_s = RECONNECT_AFTER_S
            else:
                return


def _length(head: bytes) -> int:
    at = head.find(b"ontent-Length: ")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def read(item: str) -> bytes:
    return f"GET /api/v1/items/{item} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def bid(item: str, *, user: str, cents: int, strategy: str | None = None) -> bytes:
    body = f'{{"user_id":"{user}","amount":{cents // 100}.{cents % 100:02d}}}'
    chosen = f"X-Bid-Strategy: {strategy}\r\n" if strategy else ""
    return (
        f"POST /api/v1/items/{item}/bid HTTP/1.1\r\nHost: x\r\n{chosen}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
