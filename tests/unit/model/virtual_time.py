"""An event loop whose time passes only when nobody has anything left to do, and then at once."""

import asyncio
import selectors

_TURN_S = 1e-6  # what a turn of the loop takes: timers may fire a hair early, and must not spin


class _Skipping(selectors.SelectSelector):
    """Nothing is ever ready: instead of waiting for it, time is moved on."""

    now = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits for ever")
        self.now += timeout + _TURN_S
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now

    def jump(self, seconds: float) -> None:
        """Hours pass while nobody looks."""
        self._skipping.now += seconds
