"""What a target tracking policy asks for.

AWS makes two alarms of a policy: three minutes above the target scale out, fifteen well below it
scale in. Missing data is treated as by these alarms.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from localstack.emulator.alarms.states import ALARM, LOOK_BACK, OK, Rule, state_of

OUT_AFTER, IN_AFTER = 3, 15
"""Minutes."""
MINUTES = IN_AFTER + LOOK_BACK
"""That a decision looks at."""
_WELL_BELOW = 0.9


@dataclass(frozen=True, slots=True)
class Tracking:
    target: float
    out_cooldown_s: float
    in_cooldown_s: float
    may_scale_in: bool


def wanted(values: Sequence[float | None], tracking: Tracking, *, count: int) -> int:
    """Tasks that one policy wants, given its metric in each of the last MINUTES, oldest first.

    The metric is what each of `count` tasks bears.
    """
    known = [value for value in values if value is not None]
    if _holds(values, "GreaterThanThreshold", tracking.target, minutes=OUT_AFTER):
        return max(count, math.ceil(count * known[-1] / tracking.target))
    limit = tracking.target * _WELL_BELOW
    if tracking.may_scale_in and _holds(values, "LessThanThreshold", limit, minutes=IN_AFTER):
        # The busiest of these minutes: what it needed may be needed again.
        return min(count, math.ceil(count * max(known[-IN_AFTER:]) / tracking.target))
    return count


def _holds(
    values: Sequence[float | None], comparison: str, threshold: float, *, minutes: int
) -> bool:
    rule = Rule(comparison, threshold, periods=minutes, to_alarm=minutes, missing="missing")
    return state_of(values[-(minutes + LOOK_BACK) :], rule, before=OK) == ALARM


def agreed(wishes: Iterable[int], *, count: int, least: int, most: int) -> int:
    """Tasks that all policies of a target together lead to: out if one wants it, in if all do."""
    return min(max(max(wishes, default=count), least), most)
