"""Viewers that are behind wait here, without delaying others, until they drain or are closed."""

import asyncio
from typing import Protocol

from pkg.broadcast import frames
from pkg.broadcast.metrics import Counts
from pkg.broadcast.viewer import Viewer

_LOOK_EVERY_S = 0.05


class CatchesUp(Protocol):
    def catch_up(self, viewer: Viewer) -> None:
        """Sends a drained viewer the present state and resumes writing to it."""


class Laggards:
    def __init__(self, *, slow_viewer_s: float, counts: Counts) -> None:
        self._slow_viewer_s = slow_viewer_s
        self._counts = counts
        self._behind: dict[Viewer, CatchesUp] = {}
        self._some = asyncio.Event()

    def add(self, viewer: Viewer, channel: CatchesUp) -> None:
        viewer.behind_since = asyncio.get_running_loop().time()
        self._behind[viewer] = channel
        self._counts.viewers_behind = len(self._behind)
        self._some.set()

    def discard(self, viewer: Viewer) -> None:
        self._behind.pop(viewer, None)
        self._counts.viewers_behind = len(self._behind)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            await asyncio.sleep(_LOOK_EVERY_S)
            self._look(loop.time())
            if not self._behind:
                self._some.clear()

    def _look(self, now: float) -> None:
        for viewer, channel in tuple(self._behind.items()):
            if not viewer.open or viewer.transport.is_closing():
                self.discard(viewer)
            elif viewer.drained:
                self.discard(viewer)
                channel.catch_up(viewer)
            elif now - viewer.behind_since > self._slow_viewer_s:
                self.discard(viewer)
                self._counts.slow_viewers_closed += 1
                viewer.close(frames.TRY_AGAIN_LATER)
