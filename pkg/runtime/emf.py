"""Metrics as log lines in CloudWatch's Embedded Metric Format.

Where no Prometheus scrapes, CloudWatch turns these lines into the metrics that the dashboard and
the alarms read. ``EMITTED`` is the only list; a test compares Terraform's alarms with it. For the
format see "CloudWatch Embedded Metric Format Specification" in the CloudWatch user guide.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from operator import add
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from pkg.runtime import logs
from pkg.runtime.settings.sections import ServingSettings

NAMESPACE = "BiddingSystem"

log = logs.get("emf")


@dataclass(frozen=True, slots=True)
class Emitted:
    """A metric of ``/metrics`` to emit; of a counter, its increase since the last line."""

    name: str
    unit: str
    alarming: bool = False
    """Terraform must have an alarm on it."""
    over_labels: Callable[[float, float], float] = max
    """Combines the values of two label sets into one."""


EMITTED = (
    Emitted("bid_accepted_total", "Count"),
    Emitted("bid_outbox_depth", "Count"),
    Emitted("bid_items", "Count", alarming=True),
    Emitted("bid_outbox_age_seconds", "Seconds", alarming=True),
    Emitted("bid_relay_leader", "Count", alarming=True),
    Emitted("bid_forgotten_bids_total", "Count", alarming=True),
    Emitted("bid_recovered_bids_total", "Count"),
    Emitted("bid_recovery_conflicts_total", "Count", alarming=True),
    Emitted("bid_recoveries_without_stream_total", "Count", alarming=True),
    Emitted("bid_restore_needed", "Count", alarming=True),
    Emitted("bid_redis_superseded", "Count", alarming=True),
    Emitted("bid_other_system", "Count", alarming=True),
    Emitted("bid_watermarks_refused_total", "Count", alarming=True),
    Emitted("bid_foreign_messages_total", "Count", alarming=True),
    Emitted("bid_relay_restarts_total", "Count", alarming=True),
    Emitted("bid_viewers", "Count", over_labels=add),
    Emitted("bid_slow_viewers_closed_total", "Count"),
    Emitted("bid_resets_total", "Count"),
    Emitted("bid_archive_events_total", "Count"),
    Emitted("bid_archive_lag_seconds", "Seconds", alarming=True),
    Emitted("bid_archive_dead_letters_total", "Count", alarming=True, over_labels=add),
    Emitted("bid_archive_conflicts_total", "Count", alarming=True),
    Emitted("bid_archive_unknown_version", "Count", alarming=True, over_labels=add),
)


class Emf:
    def __init__(self, registry: CollectorRegistry, *, service: str) -> None:
        self._registry = registry
        self._service = service
        self._before: dict[str, float] = {}
        self._failing = False

    def line(self, now_ms: int) -> bytes | None:
        """One JSON object, or None if the registry has no metric of ``EMITTED``."""
        found: dict[str, float] = {}
        for family in self._registry.collect():
            for name, _labels, value, *_ in family.samples:
                if name in found:
                    found[name] = _BY_NAME[name].over_labels(found[name], value)
                elif name in _BY_NAME:
                    found[name] = value
        if not found:
            return None
        totals = {name: value for name, value in found.items() if name.endswith("_total")}
        added = {name: value - self._before.get(name, 0.0) for name, value in totals.items()}
        self._before = totals
        document: dict[str, Any] = {
            "_aws": {
                "Timestamp": now_ms,
                "CloudWatchMetrics": [
                    {
                        "Namespace": NAMESPACE,
                        "Dimensions": [["Service"]],
                        "Metrics": [
                            {"Name": name, "Unit": _BY_NAME[name].unit} for name in sorted(found)
                        ],
                    }
                ],
            },
            "Service": self._service,
        }
        return msgspec.json.encode(document | found | added)

    def emit(self, write: Callable[[bytes], object]) -> None:
        """Never raises. The first failure in a row is logged; the next line makes up for it."""
        before = self._before
        try:
            if line := self.line(time.time_ns() // 1_000_000):
                write(line + b"\n")
        except Exception as error:  # noqa: BLE001 - a metric must not stop a service
            self._before = before
            if not self._failing:
                log.warning("cannot emit metrics; trying on", why=str(error) or repr(error))
            self._failing = True
        else:
            self._failing = False


@asynccontextmanager
async def emf(
    settings: ServingSettings,
    registry: CollectorRegistry,
    *,
    service: str,
    write: Callable[[bytes], object] | None = None,
) -> AsyncIterator[None]:
    """Writes a line every EMF_EVERY_S and one on exit; none if it is 0."""
    if not settings.emf_every_s:
        yield
        return
    lines = Emf(registry, service=service)
    write = write or _write

    async def run() -> None:
        while True:
            await asyncio.sleep(settings.emf_every_s)
            lines.emit(write)

    task = asyncio.create_task(run(), name="emf")
    try:
        yield
    finally:
        task.cancel()
        lines.emit(write)


_BY_NAME = {each.name: each for each in EMITTED}


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
