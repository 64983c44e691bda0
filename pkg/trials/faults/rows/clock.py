"""A gateway whose clock is off."""

import time
import uuid

from pkg.trials.faults.row import Row
from pkg.trials.faults.trial import Trial

HOUR_S = 3600.0


async def _off(trial: Trial) -> None:
    await trial.hold(10, short_s=3)
    soon_ms = (time.time() + HOUR_S / 2) * 1000
    ahead = sum(_created_at_ms(event_id) > soon_ms for event_id in trial.ledger.accepted)
    trial.note(f"{ahead} accepted bids had timestamps at least half an hour ahead.")
    trial.require(ahead, "no gateway's clock was ahead")


def _created_at_ms(event_id: str) -> int:
    """The gateway's time in a UUIDv7: its first 48 bits (RFC 9562)."""
    return uuid.UUID(event_id).int >> 80


ROWS = (
    Row(
        name="clock-off",
        expects="No visible effect: one gateway's clock is an hour ahead, but no order depends "
        "on it.",
        fault=_off,
        clock_off_s=HOUR_S,
    ),
)
