"""Durations of a row's phases, in full and shortened for CI."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Durations and time limits of a row's phases."""

    warm_up_s: float
    after_s: float
    """How long the load continues after the recovery."""
    recover_within_s: float
    drain_within_s: float
    settle_within_s: float
    """Time limit for viewers to get the last state."""
    row_within_s: float


FULL = Pace(
    warm_up_s=5,
    after_s=5,
    recover_within_s=60,
    drain_within_s=60,
    settle_within_s=30,
    row_within_s=600,
)
SHORT = Pace(
    warm_up_s=2,
    after_s=2,
    recover_within_s=30,
    drain_within_s=40,
    settle_within_s=20,
    row_within_s=120,
)

BASE = {"LOG_FORMAT": "text", "BID_STRATEGY": "lua", "BID_STRATEGY_OVERRIDE": "true"}
SHORTENED = {
    "RESEND_AFTER_S": "3",
    "RECOVERY_WAIT_S": "3",
    "REPAIR_S": "2",
}
