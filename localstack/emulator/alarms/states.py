"""The state that follows from an alarm's data points.

See "Configuring how CloudWatch alarms treat missing data" in the CloudWatch user guide; the tests
repeat its two tables.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}

LOOK_BACK = 2
"""Periods before those evaluated. Where some are missing, older data points stand in, as on AWS."""


@dataclass(frozen=True, slots=True)
class Rule:
    comparison: str
    threshold: float
    periods: int
    to_alarm: int
    """How many of the periods must breach."""
    missing: str
    """breaching, notBreaching, ignore or missing."""

    def breaches(self, value: float) -> bool:
        return COMPARISONS[self.comparison](value, self.threshold)


def state_of(values: Sequence[float | None], rule: Rule, *, before: str) -> str:
    """`values` are those of the last `periods` + LOOK_BACK periods, oldest first."""
    existing = [value for value in values if value is not None][-rule.periods :]
    filled = rule.periods - len(existing)
    breaching = sum(map(rule.breaches, existing))
    if rule.missing == "breaching":
        breaching += filled
    if not existing and rule.missing == "missing":
        return INSUFFICIENT
    if not existing and rule.missing == "ignore":
        return before
    if breaching >= rule.to_alarm:
        return ALARM
    if not filled or rule.missing in ("breaching", "notBreaching") or breaching < len(existing):
        return OK
    # All there is breaches, but it is too little.
    oldest = next(age for age, value in enumerate(values) if value is not None)
    if rule.missing == "missing" and len(values) - oldest >= rule.to_alarm:
        return ALARM
    return before
