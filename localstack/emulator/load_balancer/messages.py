"""HTTP/1.1 as far as a proxy needs it: heads, and where bodies end. Bodies pass unchanged."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

HEAD_LIMIT = 64 * 1024
_BLOCK = 64 * 1024
_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"))


class MalformedError(Exception):
    """Not HTTP/1.1, or its end is ambiguous. Where the next message begins is unknown."""


class Ends(Enum):
    AT_ONCE = 0
    CHUNKED = 1
    WITH_CONNECTION = 2


Body = int | Ends
"""A length in bytes, or another rule for where it ends."""


@dataclass(slots=True)
class Head:
    first: tuple[bytes, bytes, bytes]
    """Method, target and version of a request; version, status and reason of a response."""
    fields: list[tuple[bytes, bytes]]
    _values: dict[bytes, bytes] = field(init=False)

    def __post_init__(self) -> None:
        values: dict[bytes, bytes] = {}
        for name, value in self.fields:
            key = name.lower()
            values[key] = values[key] + b", " + value if key in values else value
        self._values = values

    def get(self, name: bytes) -> bytes | None:
        """By name in lower case. Values of a repeated field are joined, as RFC 9110 allows."""
        return self._values.get(name)

    def tokens(self, name: bytes) -> set[bytes]:
        value = self._values.get(name)
        return {each.strip().lower() for each in value.split(b",")} if value else set()

    def end_to_end(self, *without: bytes) -> list[tuple[bytes, bytes]]:
        """Without the fields that concern one connection only, and without those named."""
        left_out = {*_HOP_BY_HOP, *self.tokens(b"connection"), *without}
        return [each for each in self.fields if each[0].lower() not in left_out]


def encode(first: tuple[bytes, bytes, bytes], fields: list[tuple[bytes, bytes]]) -> bytes:
    lines = [b" ".join(first)]
    lines += [key + b": " + value for key, value in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """None: the connection ended between two messages."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise MalformedError("the connection ended within a head") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise MalformedError("the head is too long") from error
    lines = raw[:-4].lstrip(b"\r\n").split(b"\r\n")
    first = lines[0].split(b" ", 2)
    if len(first) == 2:  # noqa: PLR2004 # a response's reason may be missing
        first.append(b"")
    if len(first) != 3:  # noqa: PLR2004
        raise MalformedError("the first line is incomplete")
    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name[-1:].isspace() or name[:1].isspace():
            raise MalformedError("a field has no name")
        fields.append((name, value.strip(b" \t")))
    return Head((first[0], first[1], first[2]), fields)


def body_of_request(head: Head) -> Body:
    body = _declared(head)
    return Ends.AT_ONCE if body is None else body


def body_of_response(head: Head, method: bytes) -> Body:
    status = int(head.first[1])
    if method == b"HEAD" or status in {204, 304} or status < 200:  # noqa: PLR2004
        return Ends.AT_ONCE
    body = _declared(head)
    return Ends.WITH_CONNECTION if body is None else body


def _declared(head: Head) -> Body | None:
    length, coding = head.get(b"content-length"), head.get(b"transfer-encoding")
    if coding is not None:
        if length is not None or coding.lower() != b"chunked":
            raise MalformedError("the body's end is ambiguous")
        return Ends.CHUNKED
    if length is None:
        return None
    if not length.isdigit():
        raise MalformedError("the length is no number")
    return int(length)


class Sink(Protocol):
    def write(self, data: bytes, /) -> None: ...

    async def drain(self) -> None: ...


class Nowhere:
    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass


async def relay(source: asyncio.StreamReader, to: Sink, body: Body, *, idle_s: float) -> None:
    """Passes a body on. Waits while the receiver is slow, and reads nothing beyond the body.

    Raises TimeoutError if nothing comes for `idle_s`.
    """
    if isinstance(body, int):
        while body:
            async with asyncio.timeout(idle_s):
                block = await source.read(min(body, _BLOCK))
            if not block:
                raise MalformedError("the body is incomplete")
            body -= len(block)
            to.write(block)
            await to.drain()
    elif body is Ends.CHUNKED:
        await _relay_chunks(source, to, idle_s)
    elif body is Ends.WITH_CONNECTION:
        while True:
            async with asyncio.timeout(idle_s):
                block = await source.read(_BLOCK)
            if not block:
                return
            to.write(block)
            await to.drain()


async def _relay_chunks(source: asyncio.StreamReader, to: Sink, idle_s: float) -> None:
    try:
        while True:
            async with asyncio.timeout(idle_s):
                size_line = await source.readuntil(b"\n")
            to.write(size_line)
            size = int(size_line.split(b";")[0], 16)
            if not size:
                break
            await relay(source, to, size + 2, idle_s=idle_s)
        while (trailer := await source.readuntil(b"\n")).strip():
            to.write(trailer)
        to.write(trailer)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise MalformedError("a chunk is malformed") from error
    await to.drain()


async def pump(source: asyncio.StreamReader, to: Sink) -> None:
    while block := await source.read(_BLOCK):
        to.write(block)
        await to.drain()
