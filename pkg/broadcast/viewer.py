"""One viewer: a connection that others write to, without a writing task of its own."""

import asyncio
import time
from enum import StrEnum

from aiohttp import WSCloseCode, WSMsgType, web

from pkg.auction.ids import uuid7
from pkg.broadcast import frames
from pkg.broadcast.allowance import Allowance

CLOSE_GRACE_S = 1.5
"""How long a closed viewer may take to read its buffer before its connection is cut."""
LATEST_BUFFER_BYTES = 4096
"""The limit for viewers of the latest state: what waits for them is out of date anyway."""
MAX_MESSAGE_BYTES = 4096


class Mode(StrEnum):
    EVENTS = "events"
    LATEST = "latest"


class Viewer:
    """Only its channel writes to it, between its greeting and ``close``.

    Writes go straight to the transport, each a whole number of frames. aiohttp answers pings and
    sends its own through the same transport, a whole frame at a time, so nothing interleaves.
    """

    __slots__ = (
        "_cut",
        "_request",
        "behind_since",
        "client_id",
        "limit",
        "mode",
        "open",
        "resets",
        "seq",
        "transport",
    )

    def __init__(
        self, request: web.Request, transport: asyncio.Transport, mode: Mode, *, buffer_bytes: int
    ) -> None:
        transport.set_write_buffer_limits(high=buffer_bytes)
        self._request = request
        self._cut: asyncio.TimerHandle | None = None
        self.transport = transport
        self.mode = mode
        self.client_id = uuid7()
        self.limit = buffer_bytes if mode is Mode.EVENTS else LATEST_BUFFER_BYTES
        self.open = True
        """Whether frames may be sent: not after a Close frame, theirs or ours."""
        self.seq = 0
        """The last seq it was told; maintained only while it is behind, or in mode=latest."""
        self.resets = 0
        """The channel's resets that it was told of."""
        self.behind_since = 0.0

    @property
    def drained(self) -> bool:
        return self.transport.get_write_buffer_size() == 0

    def close(self, code: int) -> None:
        """Sends a Close frame and closes. The viewer has CLOSE_GRACE_S to read what is buffered."""
        if not self.open:
            return
        self.open = False
        if self.transport.is_closing():
            return
        self.transport.write(frames.close(code))
        self.transport.close()
        self._cut = asyncio.get_running_loop().call_later(CLOSE_GRACE_S, self._abort)

    def gone(self) -> None:
        """Called when we stop reading from it. Its buffer is kept for CLOSE_GRACE_S at most: no
        other limit counts a viewer that has left.
        """
        self.open = False
        if self.drained:
            if self._cut is not None:
                self._cut.cancel()
        elif self._cut is None:
            self._cut = asyncio.get_running_loop().call_later(CLOSE_GRACE_S, self._abort)

    def _abort(self) -> None:
        self.transport.abort()


class ViewerSocket(web.WebSocketResponse):
    """Does the handshake, reads and pings. The channel writes."""

    viewer: Viewer | None = None

    def __init__(self, *, ping_s: float) -> None:
        super().__init__(
            compress=False,
            heartbeat=ping_s,
            max_msg_size=MAX_MESSAGE_BYTES + 1,  # aiohttp refuses messages of exactly this size too
            timeout=CLOSE_GRACE_S,
            autoping=False,  # pings count as messages, too
        )

    async def read_until_closed(self, allowance: Allowance) -> bool:
        """Ignores what the viewer says, but answers its pings; False if it says too much."""
        async for message in self:
            if not allowance.spend(time.monotonic()):
                return False
            if message.type is WSMsgType.PING:
                await self.pong(message.data)
        return True

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = False
    ) -> bool:
        """Called by aiohttp before every Close frame that it sends: no event may follow one.

        It does not wait for the buffer to drain: a viewer that is behind would get its snapshot in
        between.
        """
        if self.viewer is not None:
            self.viewer.open = False
        return await super().close(code=code, message=message, drain=drain)
