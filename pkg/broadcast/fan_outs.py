"""Large fan-outs take turns: each writes to some viewers, then lets others go on."""

import asyncio
from collections import deque
from collections.abc import Iterator

FanOut = Iterator[None]
"""Writes to some viewers at each step. Whoever makes it keeps each viewer's messages in order."""


class FanOuts:
    def __init__(self) -> None:
        self._unfinished: deque[FanOut] = deque()
        self._some = asyncio.Event()

    def start(self, fan_out: FanOut) -> None:
        """Takes the first step at once; most fan-outs have no second."""
        if _step(fan_out):
            self._unfinished.append(fan_out)
            self._some.set()

    async def run(self) -> None:
        while True:
            while self._unfinished:
                await asyncio.sleep(0)
                fan_out = self._unfinished.popleft()
                if _step(fan_out):
                    self._unfinished.append(fan_out)
            self._some.clear()
            await self._some.wait()


def _step(fan_out: FanOut) -> bool:
    """Whether there is more to do."""
    for _ in fan_out:
        return True
    return False
