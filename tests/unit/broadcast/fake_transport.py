"""A viewer on a transport that only records what is written."""

import asyncio
import json
from typing import Any, cast

from aiohttp import web

from pkg.broadcast.viewer import Mode, Viewer


class FakeTransport:
    """Implements what a viewer uses of a transport. `buffered` is set by tests."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.buffered = 0
        self.closing = False
        self.aborted = False

    def write(self, data: bytes) -> None:
        assert not self.closing, "written to after it was closed"
        self.written += data

    def set_write_buffer_limits(self, *, high: int) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted = True

    def messages(self) -> list[dict[str, Any]]:
        data, at, messages = bytes(self.written), 0, []
        while at < len(data):
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            messages.append(json.loads(data[start : start + size]))
            at = start + size
        return messages

    def seqs(self) -> list[int]:
        return [message["seq"] for message in self.messages()]


def connected_viewer(mode: Mode = Mode.EVENTS) -> tuple[Viewer, FakeTransport]:
    transport = FakeTransport()
    request = cast("web.Request", None)  # only used to cut a connection
    viewer = Viewer(request, cast("asyncio.Transport", transport), mode, buffer_bytes=64 * 1024)
    return viewer, transport
