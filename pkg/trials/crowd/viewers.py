"""Viewers that check every frame as it arrives."""

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import aiohttp
import msgspec

from pkg.trials.crowd.bidders import ITEMS

VIEWERS = 60
LATEST_OF = 10
"""Every tenth viewer uses `mode=latest`."""
_RECONNECT_AFTER_S = 0.2
_OPEN_WITHIN_S = 5.0


class Frame(msgspec.Struct, frozen=True):
    """Any frame of a broadcaster; one without a type is a bid."""

    seq: int
    type: str | None = None
    event_id: str | None = None
    amount: Decimal = Decimal(0)
    current_bid: Decimal = Decimal(0)
    reset: bool = False


@dataclass
class Seen:
    """Counts of what viewers were shown: defects, and events worth a note."""

    frames: int = 0
    greetings: int = 0
    repaired: int = 0
    """Gaps that a snapshot replaced."""
    unrepaired: int = 0
    """Gaps without a snapshot: a seq was skipped, or the last state never came."""
    duplicates: int = 0
    falls: int = 0
    """A seq or a price went down without a reset."""
    resets: int = 0
    greeted_behind: int = 0
    """Greetings after a reconnect with an older state than the viewer had seen."""

    def __add__(self, other: "Seen") -> "Seen":
        return Seen(*(a + b for a, b in zip(_values(self), _values(other), strict=True)))


def _values(seen: Seen) -> Iterable[int]:
    return (getattr(seen, name) for name in Seen.__dataclass_fields__)


class FrameChecker:
    """Checks one viewer's frames. After a reconnect, the greeting is the new state."""

    def __init__(self, *, latest: bool) -> None:
        self.seen = Seen()
        self.seq = 0
        self._price = Decimal(0)
        self.latest = latest

    def check(self, frame: Frame) -> None:
        seen = self.seen
        seen.frames += 1
        price = frame.amount if frame.type is None else frame.current_bid
        if frame.type == "connected":
            seen.greetings += 1
            seen.greeted_behind += frame.seq < self.seq or price < self._price
        elif frame.reset:
            seen.resets += 1
        elif frame.type is None and frame.seq <= self.seq:
            seen.duplicates += frame.seq == self.seq
            seen.falls += frame.seq < self.seq
            return
        elif frame.seq < self.seq or price < self._price:
            seen.falls += 1
        elif frame.type is None:
            seen.unrepaired += frame.seq > self.seq + 1
        elif not self.latest:
            seen.repaired += frame.seq > self.seq
        self.seq, self._price = frame.seq, price


class Viewers:
    """Watches the items in turn. A viewer that loses its connection reconnects."""

    def __init__(
        self, port: int, *, items: Sequence[str] = ITEMS, heartbeat_s: float | None = None
    ) -> None:
        """With `heartbeat_s`, a viewer pings that often and reconnects if no pong comes."""
        self._port = port
        self._heartbeat_s = heartbeat_s
        self._checkers = [
            (item, FrameChecker(latest=number % LATEST_OF == LATEST_OF - 1))
            for number, item in zip(range(VIEWERS), itertools.cycle(items), strict=False)
        ]
        self.open = 0
        self.shown: dict[tuple[str, int], str] = {}
        """The event_id that was first shown to any viewer, by (item, seq)."""
        self.contradictions = 0
        """Frames whose event_id differs from `shown`."""

    def seen(self) -> Seen:
        return sum((checker.seen for _, checker in self._checkers), Seen())

    def behind(self, current_seqs: dict[str, int]) -> int:
        """The number of viewers that have not been shown the last state of their item."""
        return sum(checker.seq != current_seqs.get(item, 0) for item, checker in self._checkers)

    def _remember(self, item: str, frame: Frame) -> None:
        if frame.event_id is not None:
            first = self.shown.setdefault((item, frame.seq), frame.event_id)
            self.contradictions += first != frame.event_id

    async def run(self) -> None:
        """Runs until cancelled."""
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
            for item, checker in self._checkers:
                url = f"ws://127.0.0.1:{self._port}/ws/items/{item}"
                mode = "?mode=latest" if checker.latest else ""
                group.create_task(self._watch(session, url + mode, item, checker))

    async def _watch(
        self, session: aiohttp.ClientSession, url: str, item: str, checker: FrameChecker
    ) -> None:
        decode = msgspec.json.Decoder(Frame).decode
        while True:
            try:
                async with asyncio.timeout(_OPEN_WITHIN_S):
                    socket = await session.ws_connect(url, heartbeat=self._heartbeat_s)
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(_RECONNECT_AFTER_S)
                continue
            self.open += 1
            try:
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        frame = decode(message.data)
                        checker.check(frame)
                        self._remember(item, frame)
            finally:
                self.open -= 1
                await socket.close()
            await asyncio.sleep(_RECONNECT_AFTER_S)
