"""What became of the bids of a load test: each is counted once, whatever Locust counts.

Workers of a distributed run report theirs to the master, which prints and writes the sum.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

REPORT_WITHIN_S = 4.0
"""A worker reports every three seconds (Locust's WORKER_REPORT_INTERVAL)."""

_KEY = "bid_outcomes"


@dataclass
class Outcomes:
    """Bids by outcome. ``unknown``: the bid may have been accepted, its answer was lost.

    ``failures`` counts the bids of ``failed`` and ``unknown`` by the code of the answer, or by the
    kind of the connection's error.
    """

    accepted: int = 0
    refused: int = 0
    failed: int = 0
    unknown: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    def fail(self, why: str, *, unknown: bool = False) -> None:
        if unknown:
            self.unknown += 1
        else:
            self.failed += 1
        self.failures[why] = self.failures.get(why, 0) + 1

    def add(self, other: Mapping[str, Any]) -> None:
        self.accepted += other["accepted"]
        self.refused += other["refused"]
        self.failed += other["failed"]
        self.unknown += other["unknown"]
        for why, count in other["failures"].items():
            self.failures[why] = self.failures.get(why, 0) + count

    def take(self) -> dict[str, Any]:
        """All counts; starts again from zero."""
        taken = asdict(self)
        self.clear()
        return taken

    def clear(self) -> None:
        self.accepted = self.refused = self.failed = self.unknown = 0
        self.failures.clear()

    @property
    def total(self) -> int:
        return self.accepted + self.refused + self.failed + self.unknown

    def __str__(self) -> str:
        told = (
            f"{self.total} bids: {self.accepted} accepted, {self.refused} refused by a rule, "
            f"{self.failed} failed, {self.unknown} unknown"
        )
        if self.failures:
            counts = sorted(self.failures.items(), key=lambda each: -each[1])
            told += " (" + ", ".join(f"{why}: {count}" for why, count in counts) + ")"
        return told


def count_outcomes(environment: Environment, *, write_to: str | None) -> Outcomes:
    """The counts of this process. Whoever has no master prints the sum at the end.

    ``write_to`` is a file for the sum as JSON.
    """
    outcomes = Outcomes()
    events = environment.events

    def send(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001 - Locust's signature
        data[_KEY] = outcomes.take()

    def receive(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001
        outcomes.add(data[_KEY])

    def start_again(**_: object) -> None:
        outcomes.clear()

    def tell(**_: object) -> None:
        print(outcomes, file=sys.stderr)
        if write_to:
            Path(write_to).write_text(json.dumps(asdict(outcomes)), encoding="utf-8")

    def tell_soon(**_: object) -> None:
        if environment.web_ui is not None:  # otherwise the process is about to end
            gevent.spawn_later(REPORT_WITHIN_S, tell)

    events.reset_stats.add_listener(start_again)
    if environment.parsed_options and environment.parsed_options.worker:
        events.report_to_master.add_listener(send)
        return outcomes
    events.worker_report.add_listener(receive)
    events.test_start.add_listener(start_again)  # the web page can start several tests
    events.test_stop.add_listener(tell_soon)
    events.quit.add_listener(tell)  # the workers' last reports have come by then
    return outcomes
