"""An event loop whose clock jumps to the next timer when nothing else is left to do."""

import asyncio
import selectors

_TURN_S = 1e-6  # each loop iteration takes this long, or a timer that fires early would spin


class _Skipping(selectors.SelectSelector):
    """Has no ready files; advances the clock instead of waiting."""

    now = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits forever")
        self.now += timeout + _TURN_S
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now

    def jump(self, seconds: float) -> None:
        """Moves the clock, past any number of timers."""
        self._skipping.now += seconds
