"""Latencies in microseconds, and their exact percentiles."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Self

PERCENTILES = (0.5, 0.95, 0.99, 0.999)


class Latencies:
    """How often each latency was measured. Nothing is binned, so percentiles are exact."""

    def __init__(self, counts: Mapping[int, int]) -> None:
        self.counts = counts
        self._values = sorted(counts)
        self._up_to = list(accumulate(counts[value] for value in self._values))

    @classmethod
    def of_text(cls, counts: Mapping[str, int]) -> Self:
        """From cells of a raw file, counted as text: far fewer numbers are left to parse.

        Raises ValueError if one is no integer.
        """
        numbers: Counter[int] = Counter()
        for text, count in counts.items():
            numbers[int(text)] += count
        return cls(numbers)

    @classmethod
    def merged(cls, parts: "Iterable[Latencies]") -> Self:
        together: Counter[int] = Counter()
        for part in parts:
            together.update(part.counts)
        return cls(together)

    @property
    def count(self) -> int:
        return self._up_to[-1] if self._up_to else 0

    @property
    def negative(self) -> int:
        """How many are below zero: clocks of two machines can differ by more than a latency."""
        below = bisect_left(self._values, 0)
        return self._up_to[below - 1] if below else 0

    def at(self, share: float) -> int | None:
        """The smallest latency that at least this share of all samples does not exceed.

        None if so few samples cannot tell: there must be one beyond it.
        """
        rank = _rank(share, self.count)
        return self._values[bisect_left(self._up_to, rank)] if rank < self.count else None

    def highest_at(self, share: float) -> int | None:
        """As `at`, but the maximum if samples are too few. None without any."""
        if not self.count:
            return None
        rank = min(_rank(share, self.count), self.count)
        return self._values[bisect_left(self._up_to, rank)]

    def curve(self, *, points: int = 200) -> list[tuple[float, int]]:
        """(1 / (1 - share), latency) for shares from 0.5 up to the last but one sample."""
        most = self.count / 2
        steps = [2.0 * most ** (step / points) for step in range(points + 1)] if most >= 1 else []
        drawn = ((odds, self.at(1 - 1 / odds)) for odds in steps)
        return [(odds, latency) for odds, latency in drawn if latency is not None]


def _rank(share: float, count: int) -> int:
    """Nearest rank, from 1. Rounded first, as 0.99 times 100 is not quite 99."""
    exact = round(share * count, 6)
    return max(1, int(exact) + (exact > int(exact)))
