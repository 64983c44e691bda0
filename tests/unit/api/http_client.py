"""HTTP by hand: clients send exactly the bytes that the test wrote."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

JSON_TYPE = "application/json"


@dataclass(frozen=True)
class Reply:
    """One answer as it came over the wire."""

    status: int
    version: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever was sent
        assert self.headers["content-type"] == JSON_TYPE, self
        return json.loads(self.body)

    @property
    def code(self) -> str:
        body = self.json
        assert body["error"], body
        code: str = body["code"]
        return code


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, *, head_only: bool = False) -> Reply:
        """The next answer; one to HEAD has no body."""
        async with asyncio.timeout(10):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            version, status, *_ = lines[0].split(" ", 2)
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                if name:
                    assert name.lower() not in headers, f"{name} twice"
                    headers[name.lower()] = value.strip()
            length = 0 if head_only else int(headers.get("content-length", "0"))
            body = await self.reader.readexactly(length)
        return Reply(int(status), version, headers, body)

    async def ask(self, data: bytes) -> Reply:
        await self.send(data)
        return await self.reply()

    async def ended(self) -> bool:
        """Waits for the server to close the connection; False if it sends more instead."""
        async with asyncio.timeout(15):
            try:
                return not await self.reader.read(1)
            except ConnectionError:
                return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


@asynccontextmanager
async def raw_client(port: int) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    client = RawClient(reader, writer)
    try:
        yield client
    finally:
        await client.close()


def request(
    target: str | bytes, *, method: str = "GET", headers: str = "", version: str = "HTTP/1.1"
) -> bytes:
    """A request without a body; ``headers`` are whole lines, each ending in CR LF."""
    raw = target.encode() if isinstance(target, str) else target
    return b"%b %b %b\r\nHost: a\r\n%b\r\n" % (
        *(method.encode(), raw, version.encode(), headers.encode()),
    )


def bid_request(
    body: bytes,
    *,
    item: str = "vase",
    headers: str = "",
    version: str = "HTTP/1.1",
) -> bytes:
    return (
        f"POST /api/v1/items/{item}/bid {version}\r\nHost: a\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n"
    ).encode() + body


def chunked_bid_request(chunks: bytes, *, headers: str = "") -> bytes:
    """``chunks`` is the body as sent on the wire."""
    return (
        "POST /api/v1/items/vase/bid HTTP/1.1\r\nHost: a\r\n"
        f"Transfer-Encoding: chunked\r\n{headers}\r\n"
    ).encode() + chunks


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
