"""Reads `/metrics`, and values from its text."""

import asyncio
import re
from collections.abc import Iterable

_WITHIN_S = 2.0
_LEADER = re.compile(rb"^bid_relay_leader 1(\.0)?$", re.MULTILINE)


async def page(host: str, port: int) -> bytes:
    """The text of `/metrics`; empty if it does not answer."""
    try:
        async with asyncio.timeout(_WITHIN_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


def is_relaying(page: bytes) -> bool:
    return bool(_LEADER.search(page))


def total(pages: Iterable[bytes], name: str) -> float:
    pattern = re.compile(rf"^{name}(?:{{[^}}]*}})? (\S+)$".encode(), re.MULTILINE)
    return sum(float(value) for page in pages for value in pattern.findall(page))
