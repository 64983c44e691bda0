"""Delays between retries."""

import random


class Backoff:
    """Delays that double from ``first_s`` up to ``cap_s``.

    With ``jitter`` each is shortened by up to half, so that many processes do not retry in step.
    """

    def __init__(self, first_s: float, cap_s: float, *, jitter: bool = False) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._jitter = jitter
        self._next_s = first_s

    def next_s(self, *, at_most_s: float | None = None) -> float:
        """The next delay, at most ``at_most_s``; the one after it is twice as long."""
        delay_s = self._next_s if at_most_s is None else min(self._next_s, at_most_s)
        self._next_s = min(delay_s * 2, self._cap_s)
        return delay_s * random.uniform(0.5, 1.0) if self._jitter else delay_s  # noqa: S311

    def reset(self) -> None:
        """Starts again from ``first_s``."""
        self._next_s = self._first_s
