"""Faults of time."""

import time
import uuid

from pkg.trials.faults.row import Row
from pkg.trials.faults.scene import Scene

HOUR_S = 3600.0


async def _off(scene: Scene) -> None:
    await scene.hold(10, short_s=3)
    soon_ms = (time.time() + HOUR_S / 2) * 1000
    ahead = sum(_made_at_ms(event_id) > soon_ms for event_id in scene.ledger.accepted)
    scene.note(f"{ahead} accepted bids were made half an hour ahead or more.")
    scene.require(ahead, "no gateway's clock was ahead")


def _made_at_ms(event_id: str) -> int:
    """By the gateway's clock: the first 48 bits of a UUIDv7 (RFC 9562)."""
    return uuid.UUID(event_id).int >> 80


ROWS = (
    Row(
        name="clock-off",
        expects="Nobody notices: one gateway's clock is an hour ahead, and no order rests on it.",
        fault=_off,
        clock_off_s=HOUR_S,
    ),
)
