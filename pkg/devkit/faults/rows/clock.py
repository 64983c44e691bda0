"""Faults of time."""

from pkg.devkit.faults.row import Row
from pkg.devkit.faults.scene import Scene

HOUR_S = 3600.0


async def _off(scene: Scene) -> None:
    await scene.hold(10, short_s=3)


ROWS = (
    Row(
        name="clock-off",
        expects="Nobody notices: one gateway's clock is an hour ahead, and no order rests on it.",
        fault=_off,
        clock_off_s=HOUR_S,
    ),
)
