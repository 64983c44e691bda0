"""How long after a fault the archive lacked accepted bids."""

from collections.abc import Mapping

from pkg.trials.crowd.ledger import Ledger
from pkg.trials.faults.row import Row

LATE_S = 2.0
"""A bid accepted after the fault is late if it is archived after this time; hundredths are usual.
One accepted before counts until it is archived."""


def whole_s(ledger: Ledger, kept_at: Mapping[str, float], *, ended_at: float) -> float:
    """Seconds from the end of the fault until the archive held every bid, but those just accepted.

    `kept_at` is when each event was archived or made a dead letter. Lost bids are judged elsewhere.
    """
    missed_until = [
        at
        for event, at in kept_at.items()
        if (accepted_at := ledger.accepted_at.get(event)) is not None
        and (accepted_at <= ended_at or at > accepted_at + LATE_S)
    ]
    return max([ended_at, *missed_until]) - ended_at


def lateness(row: Row, seconds: float) -> list[str]:
    """What fails the row if the archive was whole this long after the fault."""
    if seconds <= row.whole_within_s:
        return []
    bound = f"{row.whole_within_s:g} s"
    return [f"the archive was whole {seconds:.1f} s after the fault had ended, over {bound}"]
