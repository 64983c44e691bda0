"""One viewer: a connection that is written to, and no task of its own for that."""

import asyncio
from enum import StrEnum

from aiohttp import WSCloseCode, web

from pkg.auction.ids import uuid7
from pkg.broadcast import frames

CLOSE_GRACE_S = 1.5
"""How long a closed viewer may take to read what waits for it; then its connection is cut."""
LATEST_BUFFER_BYTES = 4096
"""A viewer of the latest state is behind sooner: what waits for it is out of date anyway."""
MAX_MESSAGE_BYTES = 4096


class Mode(StrEnum):
    EVENTS = "events"
    LATEST = "latest"


class Viewer:
    """Written to by its channel alone, between its greeting and ``close``.

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
        """Whether frames may be sent. Not after a Close frame, theirs or ours."""
        self.seq = 0
        """Of the last thing it was told; kept up only while it is behind, or in mode=latest."""
        self.resets = 0
        """How many resets of the channel it was told of."""
        self.behind_since = 0.0

    @property
    def drained(self) -> bool:
        return self.transport.get_write_buffer_size() == 0

    def close(self, code: int) -> None:
        """Says why, and closes. What it did not read in CLOSE_GRACE_S it will not get."""
        if not self.open:
            return
        self.open = False
        if self.transport.is_closing():
            return
        self.transport.write(frames.close(code))
        self.transport.close()
        self._cut = asyncio.get_running_loop().call_later(CLOSE_GRACE_S, self._abort)

    def gone(self) -> None:
        """Nobody reads from it any more. What it does not read itself is not kept for ever either:
        it counts as nobody's, so nothing else would bound it.
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
    """Shakes hands, reads, pings. The channel does the writing."""

    viewer: Viewer | None = None

    def __init__(self, *, ping_s: float) -> None:
        super().__init__(
            compress=False,
            heartbeat=ping_s,
            max_msg_size=MAX_MESSAGE_BYTES + 1,  # aiohttp refuses what is as long as this
            timeout=CLOSE_GRACE_S,
        )

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = False
    ) -> bool:
        """Comes before every Close frame that aiohttp sends: no event may follow one.

        Not drained before the transport is closed: a viewer that is behind would get its snapshot
        in between.
        """
        if self.viewer is not None:
            self.viewer.open = False
        return await super().close(code=code, message=message, drain=drain)
