"""How long to wait before what ended is started again."""

from dataclasses import dataclass

FIRST_S = 0.5
LONGEST_S = 30.0
HEALTHY_AFTER_S = 60.0


@dataclass
class Backoff:
    """Doubles up to a cap; a run that lasted a minute starts it over."""

    _next_s: float = FIRST_S

    def delay_s(self, *, ran_s: float) -> float:
        if ran_s >= HEALTHY_AFTER_S:
            self._next_s = FIRST_S
        delay = self._next_s
        self._next_s = min(delay * 2, LONGEST_S)
        return delay
