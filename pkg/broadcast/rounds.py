"""Fan-outs too large for one go are done in rounds, so that nothing else waits for them."""

import asyncio
from collections import deque
from collections.abc import Iterator

Round = Iterator[None]
"""Writes to some viewers at each step. Whoever makes it sees to it that a viewer's order holds."""


class Rounds:
    def __init__(self) -> None:
        self._unfinished: deque[Round] = deque()
        self._some = asyncio.Event()

    def start(self, fan_out: Round) -> None:
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


def _step(fan_out: Round) -> bool:
    """Whether there is more to do."""
    for _ in fan_out:
        return True
    return False
