"""How long the parts of a row take, in full and as CI runs them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """How long each part of a row may take or takes."""

    warm_up_s: float
    after_s: float
    """Load goes on for so long after the recovery."""
    recover_within_s: float
    drain_within_s: float
    settle_within_s: float
    """In which viewers have to be shown the last state."""
    row_within_s: float
    redelivered_within_s: float | None = None
    """Instead of the worker's own ack wait of above a minute, for what a fault left unanswered."""


FULL = Pace(
    warm_up_s=5,
    after_s=5,
    recover_within_s=60,
    drain_within_s=180,
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
    redelivered_within_s=1.5,
)

BASE = {"LOG_FORMAT": "text", "BID_STRATEGY": "lua", "BID_STRATEGY_OVERRIDE": "true"}
SHORTENED = {
    "RESEND_AFTER_S": "3",
    "RECOVERY_WAIT_S": "3",
    "STATEMENT_TIMEOUT_S": "2",
    "REPAIR_S": "2",
}
