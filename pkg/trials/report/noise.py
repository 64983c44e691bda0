"""When a later run is worse than an earlier one, and when that may be just noise.

Each repetition gives one value a metric. Two runs are compared by the ratio of their geometric
means, with Welch's 99 % confidence interval on the logarithms. A difference is marked only where
the whole interval is more than MARGIN away from 1: it is then both unlikely to be chance and large
enough to matter. One repetition has no spread, so nothing is marked without two on each side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import fmean, variance
from typing import Literal

MARGIN = 0.05
LEAST_REPETITIONS = 2
RULE = (
    "Each repetition gives one value. The ratio is that of the geometric means, later over "
    "earlier, with Welch's 99 % confidence interval on the logarithms. A change is marked worse "
    f"or better only if its whole interval is more than {MARGIN:.0%} away from 1; anything else is "
    f"within noise. Fewer than {LEAST_REPETITIONS} repetitions on either side have no spread and "
    "are never marked, nor are runs on unlike machines or backends, nor quick runs beside full "
    "ones. The interval knows the spread "
    "between a run's repetitions, not between days: on a shared machine, repeat both runs before "
    "believing a mark. Of a hundred comparisons without any change, fewer than one should be "
    "marked."
)

# Student's t for a two-sided 99 %, by whole degrees of freedom; beyond the last it falls to 2.58.
_T99 = (
    *(63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169),
    *(3.106, 3.055, 3.012, 2.977, 2.947, 2.921, 2.898, 2.878, 2.861, 2.845),
)

Verdict = Literal["worse", "better", "within noise", "too few repetitions", "not comparable"]


@dataclass(frozen=True, slots=True)
class Change:
    verdict: Verdict
    ratio: float | None = None
    """Later over earlier; None if a value is zero or was not measured."""
    interval: tuple[float, float] | None = None


def compare(
    earlier: Sequence[float | None],
    later: Sequence[float | None],
    *,
    better: Literal["higher", "lower"],
    alike: bool = True,
) -> Change:
    """``alike`` is false for runs that cannot be judged: there is a ratio, but no verdict."""
    logs = [_logs(earlier), _logs(later)]
    if not all(logs):
        return Change("not comparable")
    before, after = logs
    ratio = exp(fmean(after) - fmean(before))
    if min(len(before), len(after)) < LEAST_REPETITIONS:
        return Change("too few repetitions" if alike else "not comparable", ratio)
    interval = _interval(before, after)
    if not alike:
        return Change("not comparable", ratio, interval)
    low, high = interval
    rose, fell = low > 1 + MARGIN, high < 1 - MARGIN
    if not rose and not fell:
        return Change("within noise", ratio, interval)
    return Change("better" if rose == (better == "higher") else "worse", ratio, interval)


def _interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    difference = fmean(after) - fmean(before)
    parts = [variance(values) / len(values) for values in (before, after)]
    if not sum(parts):
        return exp(difference), exp(difference)
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (before, after), strict=True)
    )
    half = _T99[min(max(int(freedom), 1), len(_T99)) - 1] * sqrt(sum(parts))
    return exp(difference - half), exp(difference + half)


def _logs(values: Sequence[float | None]) -> list[float]:
    """Empty unless every value that was measured is above zero."""
    there = [value for value in values if value is not None]
    return [log(value) for value in there] if all(value > 0 for value in there) else []
