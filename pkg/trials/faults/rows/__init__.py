"""Every row, in the order of the report."""

from pkg.trials.faults.row import Row
from pkg.trials.faults.rows import (
    clock,
    combined,
    connections,
    controls,
    histories,
    nats,
    postgres,
    redis,
    services,
)

ROWS: tuple[Row, ...] = (
    *nats.ROWS,
    *postgres.ROWS,
    *redis.ROWS,
    *services.ROWS,
    *connections.ROWS,
    *clock.ROWS,
    *combined.ROWS,
    *histories.ROWS,
)
CONTROLS: tuple[Row, ...] = controls.ROWS
"""Rows that must fail; not in the report."""
