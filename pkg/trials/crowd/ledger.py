"""Records what bidders were answered: every accepted bid, and counts of all else."""

import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pkg.api.errors import Unavailable


class Outcome(StrEnum):
    """What a bidder knows of its bid."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """By a rule of the auction."""
    FAILED = "failed"
    """Certainly not written."""
    UNKNOWN = "unknown"
    """It may have been accepted."""


class AcceptedBid(NamedTuple):
    """An accepted bid, as answered to its bidder."""

    item: str
    seq: int
    cents: int


DOCUMENTED_503 = frozenset(
    {*(error.code for error in Unavailable.__subclasses__()), "no_gateway"}  # the edge's
)


@dataclass
class Ledger:
    accepted: dict[str, AcceptedBid] = field(default_factory=dict)
    """By event_id."""
    unknown: set[tuple[str, int]] = field(default_factory=set)
    """(item, cents) of bids with unknown outcome. No two bids on an item have the same amount."""
    unknown_elsewhere: set[tuple[str, int]] = field(default_factory=set)
    """As `unknown`, of second loads: no cost of the fault, but they may be archived."""
    requests: int = 0
    refused: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Bids that were certainly not written, by the 503's code or `no connection`."""
    defects: list[str] = field(default_factory=list)
    """Answers outside the contract."""
    accepted_at: dict[str, float] = field(default_factory=dict)
    """When each 201 was read (time.monotonic), by event_id."""
    _acceptance_times: list[float] = field(default_factory=list)
    _send_times: list[float] = field(default_factory=list)

    def accept(self, event_id: str, kept: AcceptedBid, *, sent_at: float) -> None:
        if event_id in self.accepted:
            self.defects.append(f"event_id {event_id} was given to two bids")
        self.accepted[event_id] = kept
        self.accepted_at[event_id] = time.monotonic()
        self._acceptance_times.append(self.accepted_at[event_id])
        self._send_times.append(sent_at)

    def fail(self, code: str, *, item: str, cents: int) -> Outcome:
        if code == "outcome_unknown":
            self.unknown.add((item, cents))
            return Outcome.UNKNOWN
        if code in DOCUMENTED_503:
            self.failed[code] += 1
        else:
            self.defects.append(f"503 with the code {code!r}")
        return Outcome.FAILED

    def absorb(self, other: "Ledger") -> None:
        """Adds the bids of a second load, so that they are accounted for too; not its failures."""
        self.defects += [
            f"event_id {event_id} was given to two bids"
            for event_id in self.accepted.keys() & other.accepted.keys()
        ]
        self.accepted |= other.accepted
        self.accepted_at |= other.accepted_at
        self.unknown_elsewhere |= other.unknown
        self.refused += other.refused
        self.requests += other.requests - other.failed.total() - len(other.unknown)
        self.defects += other.defects

    @property
    def last_accepted_at(self) -> float:
        """When the last bid was accepted; 0 if none was. Without those absorbed."""
        return self._acceptance_times[-1] if self._acceptance_times else 0.0

    def accepted_since(self, moment: float) -> int:
        return len(self._acceptance_times) - bisect_right(self._acceptance_times, moment)

    def first_accepted_after(self, moment: float) -> float | None:
        """When the first bid sent after the moment was accepted."""
        for at in range(bisect_right(self._acceptance_times, moment), len(self._acceptance_times)):
            if self._send_times[at] > moment:
                return self._acceptance_times[at]
        return None
