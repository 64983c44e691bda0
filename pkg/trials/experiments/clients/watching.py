"""Viewers of one item, some of whom do not read.

A child of the fan-out experiment. Reads a `Task` from standard input, writes `Connected` when every
viewer was greeted, waits for the last seq, and ends with what was `Seen` when the viewers have it.
"""

import asyncio
import sys
import time
from datetime import datetime
from pathlib import Path

import msgspec
import uvloop

from pkg.trials.crowd.viewers import Frame, FrameChecker
from pkg.trials.experiments.clients.websocket import WebSocket, connect

AT_ONCE = 50
"""Viewers that connect at the same time."""
GREETED_WITHIN_S = 30.0
SEEN_WITHIN_S = 15.0
"""After the last bid: then what is missing does not come."""
HEAD = ("run", "viewer", "slow", "seq", "latency_us")
_REMEMBERED = 64
_SHOWN = 3


class Task(msgspec.Struct, frozen=True):
    host: str
    port: int
    item: str
    viewers: int
    slow: int
    """How many of them do not read between the first bid and the last."""
    first: int
    """Number of the first viewer."""
    run: int
    samples: str


class Connected(msgspec.Struct):
    connect_us: list[int]
    """From the begin of TCP to the greeting, of each that was greeted."""
    fast: int
    """How many of them read."""


class Seen(msgspec.Struct):
    """By those who read; slow ones have only their lines in the file."""

    delivered: int = 0
    gaps: int = 0
    """Skipped seqs, and a last state that never came."""
    wrong: int = 0
    """Duplicates, and prices or seqs that fell."""
    lost: int = 0
    """Connections that ended."""
    slow_lost: int = 0
    cpu_s: float = 0.0
    seconds: float = 0.0
    """For which the CPU time was measured."""
    last_us: dict[int, int] = {}
    """Of each seq, the largest latency."""
    defects: list[str] = []


class Bid(Frame, frozen=True):
    timestamp: str = ""


class Hall:
    """What all viewers of this process share."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.samples: list[tuple[int, int, int, int]] = []
        self.defects: list[str] = []
        self.finishing = False
        self._decode = msgspec.json.Decoder(Bid).decode
        self._known: dict[bytes, tuple[Bid, float]] = {}

    def frame(self, text: bytes) -> tuple[Bid, float]:
        """The frame and its timestamp in seconds. Viewers get the same bytes: decoded once."""
        known = self._known.get(text)
        if known is None:
            bid = self._decode(text)
            at = datetime.fromisoformat(bid.timestamp).timestamp() if bid.timestamp else 0.0
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[text] = (bid, at)
        return known


class Viewer:
    def __init__(self, hall: Hall, number: int, *, slow: bool) -> None:
        self._hall = hall
        self.number = number
        self.slow = slow
        self.checker = FrameChecker(latest=False)
        self.greeted = asyncio.get_running_loop().create_future()
        self.connect_us = 0
        self.alive = False
        self.lost = False
        self.bids = 0
        self._began = 0.0
        self.socket = WebSocket(f"/ws/items/{hall.task.item}", self)

    async def connect(self) -> None:
        """Returns when it was greeted, or refused."""
        self._began = time.monotonic()
        task = self._hall.task
        try:
            async with asyncio.timeout(GREETED_WITHIN_S):
                await connect(task.host, task.port, lambda: self.socket, small_buffer=self.slow)
                await self.greeted
        except (OSError, TimeoutError) as error:
            self._defect(f"not connected: {error or 'no greeting'}")
            self.socket.close()

    def opened(self) -> None: ...

    def heard(self, text: bytes) -> None:
        now = time.time()
        frame, at = self._hall.frame(text)
        duplicates = self.checker.seen.duplicates
        self.checker.check(frame)
        if frame.type is None:
            if self.checker.seen.duplicates == duplicates:
                self.bids += 1
                latency_us = round((now - at) * 1e6)
                self._hall.samples.append((self.number, int(self.slow), frame.seq, latency_us))
        elif frame.type == "connected" and not self.greeted.done():
            self.connect_us = round((time.monotonic() - self._began) * 1e6)
            self.alive = True
            if self.slow:
                self.socket.stop_reading()
            self.greeted.set_result(None)

    def ended(self) -> None:
        self.lost = self.alive and not self._hall.finishing
        self.alive = False
        if not self.greeted.done():
            refused = self.socket.refused
            self.greeted.set_exception(ConnectionError(refused.decode() if refused else "closed"))

    def _defect(self, what: str) -> None:
        if len(self._hall.defects) < _SHOWN:
            self._hall.defects.append(what)


async def _run(task: Task) -> None:
    loop = asyncio.get_running_loop()
    hall = Hall(task)
    slow_from = task.viewers - task.slow
    viewers = [
        Viewer(hall, task.first + number, slow=number >= slow_from)
        for number in range(task.viewers)
    ]
    places = asyncio.Semaphore(AT_ONCE)

    async def enter(viewer: Viewer) -> None:
        async with places:
            await viewer.connect()

    await asyncio.gather(*(enter(viewer) for viewer in viewers))
    greeted = [viewer for viewer in viewers if viewer.alive]
    fast = [viewer for viewer in greeted if not viewer.slow]
    _tell(Connected([viewer.connect_us for viewer in greeted], len(fast)))
    began, began_cpu_s = time.monotonic(), time.process_time()
    line = await loop.run_in_executor(None, sys.stdin.readline)
    if not line:
        return
    last_seq = int(line)
    await _all_have(fast, last_seq)
    seconds, cpu_s = time.monotonic() - began, time.process_time() - began_cpu_s
    slow = [viewer for viewer in greeted if viewer.slow]
    for viewer in slow:
        viewer.socket.go_on_reading()
    await _all_have(slow, last_seq)
    hall.finishing = True
    for viewer in viewers:
        viewer.socket.close()
    lines = (f"{task.run},{n},{slow},{seq},{us}\n" for n, slow, seq, us in hall.samples)
    Path(task.samples).write_text("".join(lines), encoding="utf-8")  # noqa: ASYNC240 - all is done
    _tell(_seen(hall, greeted, last_seq, cpu_s=cpu_s, seconds=seconds))


async def _all_have(viewers: list[Viewer], seq: int) -> None:
    """Returns when each has that state, or lost its connection, or does not get it in time."""
    deadline = time.monotonic() + SEEN_WITHIN_S
    while time.monotonic() < deadline:
        if all(viewer.checker.seq >= seq or not viewer.alive for viewer in viewers):
            return
        await asyncio.sleep(0.02)


def _seen(
    hall: Hall, greeted: list[Viewer], last_seq: int, *, cpu_s: float, seconds: float
) -> Seen:
    told = Seen(cpu_s=cpu_s, seconds=seconds, defects=hall.defects)
    for viewer in greeted:
        if viewer.slow:
            told.slow_lost += viewer.lost
            continue
        seen = viewer.checker.seen
        told.delivered += viewer.bids
        told.gaps += seen.repaired + seen.unrepaired + (viewer.checker.seq < last_seq)
        told.wrong += seen.duplicates + seen.falls
        told.lost += viewer.lost
    for _, slow, seq, latency_us in hall.samples:
        if not slow and latency_us > told.last_us.get(seq, -1):
            told.last_us[seq] = latency_us
    return told


def _tell(what: msgspec.Struct) -> None:
    print(msgspec.json.encode(what).decode(), flush=True)  # noqa: T201 - to the parent


def main() -> None:
    uvloop.run(_run(msgspec.json.decode(sys.stdin.readline(), type=Task)))


if __name__ == "__main__":
    main()
