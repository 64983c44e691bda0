"""A row of the bench: a fault and what it may cost. A result: what it did cost."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from pkg.trials.faults.trial import Trial

UNKNOWN = "outcome_unknown"
WHOLE_WITHIN_S = 10.0
REDIS_AWAY = frozenset({"redis_unavailable", "redis_recovering", UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    expects: str
    """For the report: what users may notice and what must hold."""
    fault: Callable[[Trial], Awaitable[None]]
    """Returns when the fault has ended; the system may still be recovering."""
    settings: Mapping[str, str] = field(default_factory=dict)
    short_settings: Mapping[str, str] = field(default_factory=dict)
    proxied: bool = False
    """Whether the services reach every store through a proxy."""
    archivers: int = 1
    clock_off_s: float = 0.0
    """Seconds by which one gateway's clock is off."""
    may_fail: frozenset[str] = frozenset()
    """Answers that the fault may cause: codes of 503, and `no connection`. Others fail the row."""
    may_lose: bool = False
    """A store forgets what no other store holds: losses and conflicts are allowed and counted, but
    the audit must report them. A run without any is judged like other rows."""
    forgets_s: float | None = None
    """Only bids accepted within this many seconds before the fault may be lost. Required for a row
    that may lose."""
    must_lose: bool = False
    """As `may_lose`, and the row fails if nothing is lost."""
    may_keep_apart: bool = False
    """Another Redis is opened beside this one. Bids of the one that loses may be kept apart: as
    dead letters of reason `superseded_epoch`, each of which the audit must name."""
    must_keep_apart: bool = False
    """As `may_keep_apart`, and the row fails if nothing is kept apart."""
    whole_within_s: float = WHOLE_WITHIN_S
    """Bound of `Result.whole_s`. Where a row needs longer, `expects` says why."""
    control: bool = False
    """Breaks a promise on purpose: the row must fail, which shows that the bench notices."""


class Result(msgspec.Struct, kw_only=True):
    row: str
    requests: int = 0
    failed: int = 0
    """Bids answered with a documented 503 or not connected: nothing was written."""
    unknown: int = 0
    accepted: int = 0
    archived: int = 0
    lost: int = 0
    """Accepted bids that are neither archived nor dead letters."""
    conflicts: int = 0
    """Accepted bids that are dead letters because another bid has their seq."""
    kept_apart: int = 0
    """Accepted bids that are dead letters because another Redis was opened after theirs."""
    repaired: int = 0
    unrepaired: int = 0
    recover_s: float | None = None
    whole_s: float | None = None
    """From the end of the fault until the archive held every accepted bid; see `lateness`."""
    drain_s: float | None = None
    took_s: float = 0.0
    audit: int | None = None
    """The audit's exit code."""
    codes: dict[str, int] = msgspec.field(default_factory=dict)
    problems: list[str] = msgspec.field(default_factory=list)
    """Why the row fails, in sentences."""
    notes: list[str] = msgspec.field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems
