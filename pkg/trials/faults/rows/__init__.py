"""Every row, in the order of the report."""

from pkg.trials.faults.row import Row
from pkg.trials.faults.rows import (
    clock,
    connections,
    controls,
    nats,
    postgres,
    redis,
    services,
    two,
)

ROWS: tuple[Row, ...] = (
    *nats.ROWS,
    *postgres.ROWS,
    *redis.ROWS,
    *services.ROWS,
    *connections.ROWS,
    *clock.ROWS,
    *two.ROWS,
)
CONTROLS: tuple[Row, ...] = controls.ROWS
"""Not in the report: each of them must fail."""
