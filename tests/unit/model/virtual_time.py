"""An event loop whose clock jumps to the next timer as soon as nothing else is to be done."""

import asyncio
import selectors

_TURN_S = 1e-6  # a turn of the loop takes this long: timers that fire a hair early must not spin


class _Skipping(selectors.SelectSelector):
    """Nothing is ever ready; instead of waiting, the clock moves on."""

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
        """Moves the clock, however many timers that passes."""
        self._skipping.now += seconds
