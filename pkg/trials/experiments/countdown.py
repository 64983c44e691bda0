"""Progress of an experiment: a line a run, with the time that is left."""

import time
from collections.abc import Sequence

from pkg.devkit import views


class Countdown:
    def __init__(self, name: str, expected_s: Sequence[float]) -> None:
        """`expected_s`: of each run in turn. What the first runs took corrects the rest."""
        self._name = name
        self._expected_s = list(expected_s)
        self._number = 0
        self._began = time.monotonic()

    @property
    def left_s(self) -> float:
        """Of the runs that have not begun."""
        done_s = sum(self._expected_s[: self._number])
        factor = (time.monotonic() - self._began) / done_s if done_s else 1.0
        return factor * sum(self._expected_s[self._number :])

    def begins(self, what: str) -> None:
        left = views.duration(self.left_s)
        self._number += 1
        of = f"{self._number}/{len(self._expected_s)}"
        views.complain(f"{self._name} {of}: {what} ... (about {left} left)")

    def ended(self, what: str) -> None:
        views.complain(f"{self._name} {self._number}/{len(self._expected_s)}: {what}")
