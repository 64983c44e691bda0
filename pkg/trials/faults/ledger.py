"""Records what bidders were answered: every accepted bid, and counts of all else."""

import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class AcceptedBid(NamedTuple):
    """An accepted bid, as answered to its bidder."""

    item: str
    seq: int
    cents: int


DOCUMENTED_503 = frozenset(
    {
        *("redis_unavailable", "redis_recovering", "busy", "outbox_full", "outcome_unknown"),
        "no_gateway",  # sent by the load balancer
    }
)


@dataclass
class Ledger:
    accepted: dict[str, AcceptedBid] = field(default_factory=dict)
    """By event_id."""
    unknown: set[tuple[str, int]] = field(default_factory=set)
    """(item, cents) of bids with unknown outcome. No two bids on an item have the same amount."""
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

    def fail(self, code: str, *, item: str, cents: int) -> None:
        if code == "outcome_unknown":
            self.unknown.add((item, cents))
        elif code in DOCUMENTED_503:
            self.failed[code] += 1
        else:
            self.defects.append(f"503 with the code {code!r}")

    def accepted_since(self, moment: float) -> int:
        return len(self._acceptance_times) - bisect_right(self._acceptance_times, moment)

    def first_accepted_after(self, moment: float) -> float | None:
        """When the first bid sent after the moment was accepted."""
        for at in range(bisect_right(self._acceptance_times, moment), len(self._acceptance_times)):
            if self._send_times[at] > moment:
                return self._acceptance_times[at]
        return None
