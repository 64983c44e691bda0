"""How much a viewer may send: a token bucket, so that a flood costs others nothing."""

import asyncio
import time
from collections.abc import Callable

BURST_S = 5.0
"""A viewer may send what it saved up in this time all at once."""
MESSAGE_BYTES = 1024
"""What a message may have on average. The burst of one message a second holds the largest one."""


class Allowance:
    """``per_s`` messages a second. ``now`` is any monotonic number of seconds."""

    __slots__ = ("_left", "_most", "_per_s", "_since")

    def __init__(self, per_s: float, now: float) -> None:
        self._per_s = per_s
        self._most = self._left = per_s * BURST_S
        self._since = now

    def spend(self, now: float, amount: int = 1) -> bool:
        """Takes this many messages; False if there were too many before."""
        self._left = min(self._most, self._left + (now - self._since) * self._per_s)
        self._since = now
        if self._left < 1:
            return False
        self._left -= amount
        return True


class Metered(asyncio.Protocol):
    """Stands before a connection's protocol and counts what it receives, since frames that
    complete no message are seen nowhere else. A read counts as a message for each whole
    ``MESSAGE_BYTES``, and as one at least.
    """

    def __init__(
        self,
        protocol: asyncio.Protocol,
        allowance: Allowance,
        *,
        too_much: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``too_much`` must close the connection."""
        self._allowance = allowance
        self._too_much = too_much
        self._clock = clock
        self._protocol = protocol
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def data_received(self, data: bytes) -> None:
        if self._allowance.spend(self._clock(), max(1, len(data) // MESSAGE_BYTES)):
            self._protocol.data_received(data)
        else:
            self._too_much()
