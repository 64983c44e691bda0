"""A row of the bench: a fault, what it may cost, and what it did cost."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from pkg.trials.faults.scene import Scene

UNKNOWN = "outcome_unknown"
REDIS_AWAY = frozenset({"redis_unavailable", "redis_recovering", UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    expects: str
    """What users should notice, and what must hold, in words for the report."""
    fault: Callable[[Scene], Awaitable[None]]
    """Returns when the fault has ended; the system may still be recovering."""
    settings: Mapping[str, str] = field(default_factory=dict)
    short_settings: Mapping[str, str] = field(default_factory=dict)
    proxied: bool = False
    """The services reach every store through a proxy."""
    archivers: int = 1
    clock_off_s: float = 0.0
    """Of one gateway."""
    may_fail: frozenset[str] = frozenset()
    """What the fault may cost bidders: codes of 503, and `no connection`. Any other fails the row.
    """
    may_lose: bool = False
    """A store forgot what no other store held: loss and conflicts are counted, not forbidden, and
    the audit has to tell of them. A run with neither is judged as if there might be none."""
    forgets_s: float | None = None
    """Only what was accepted within so many seconds before the strike may be lost. A row that may
    lose has to say it."""
    must_lose: bool = False
    """It may, and a run in which nothing is lost proves nothing."""
    control: bool = False
    """A row that breaks a promise by hand: it has to fail, or the bench is blind."""


class Result(msgspec.Struct, kw_only=True):
    row: str
    requests: int = 0
    failed: int = 0
    """Answered with a documented 503, or not connected: nothing was written."""
    unknown: int = 0
    accepted: int = 0
    archived: int = 0
    lost: int = 0
    """Accepted, and neither archived nor a dead letter."""
    conflicts: int = 0
    """Accepted, and a dead letter because its seq belongs to another bid."""
    repaired: int = 0
    unrepaired: int = 0
    recover_s: float | None = None
    drain_s: float | None = None
    took_s: float = 0.0
    audit: int | None = None
    """Its exit code."""
    codes: dict[str, int] = msgspec.field(default_factory=dict)
    problems: list[str] = msgspec.field(default_factory=list)
    """Why the row fails, in sentences."""
    notes: list[str] = msgspec.field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems
