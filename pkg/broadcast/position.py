"""Where a broadcaster stands in one item's history, and what it may tell next.

The rules, none of which knows of sockets or clocks (``now`` is any monotonic number of seconds):

- An event is told when it follows: the next ``seq``, and its ``previous_bid`` is our price.
- An event at or below our ``seq`` is a duplicate; batches are sent again, and a refused publish
  still reaches core subscribers.
- An event beyond the next is held back. If nothing moved for the gap's wait, a snapshot stands in
  for what is missing.
- What Redis holds ahead of us is on its way or lost; it gets the same wait.
- Redis behind us, or at the same ``seq`` with another bid, lost what we told. A second reading has
  to say so, and both from a Redis that bids are let into: one that restarted gets back what
  JetStream holds first. Then its state is adopted as a reset, the only way in which a price or a
  seq goes down.
- An event that does not chain to our price belongs to another history than ours, and Redis alone
  says which is true.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pkg.broadcast.metrics import Counts
from pkg.broadcast.standing import Event, Standing

MAX_HELD = 1000
"""Events held back for an item. Beyond it, what is missing is given up at once."""


class Jump(NamedTuple):
    """The position moved otherwise than by the next event."""

    after: Standing
    reset: bool


News = Event | Jump
_NOTHING: Sequence[News] = ()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what is missing is waited for, and how far apart two readings that agree must be."""

    gap_wait_s: float
    confirm_s: float


class Position:
    def __init__(self, patience: Patience, counts: Counts) -> None:
        self._patience = patience
        self._counts = counts
        self.standing: Standing | None = None
        """``None`` until Redis was read for the first time."""
        self.wants_reading = False
        """Something is missing or contradictory; whoever sees this reads Redis and resets it."""
        self.stalled_since: float | None = None
        """Something newer is known, and nothing moved since then."""
        self._held: dict[int, Event] = {}
        self._ahead: Standing | None = None
        self._hole = False
        self._forked = False
        self._behind_since: float | None = None

    def event(self, event: Event, now: float) -> Sequence[News]:
        """What to tell after an event that came from NATS, in order."""
        standing = self.standing
        if standing is None:
            self._held.setdefault(event.seq, event)
            if len(self._held) > MAX_HELD:
                del self._held[min(self._held)]
            return _NOTHING
        if self._follows(event, standing) and not self._forked:
            self.standing = event.after
            if self.stalled_since is None:
                return (event,)
            return self._go_on([event], now)
        if event.seq > standing.seq:
            return self._hold(event, standing, now)
        if event.after.differs_from(standing):
            self._forked = self.wants_reading = True
        self._counts.events_duplicate += 1
        return _NOTHING

    def read(
        self, found: Standing, *, asked_at: Standing | None, now: float, trusted: bool = True
    ) -> Sequence[News]:
        """What to tell after Redis was read.

        ``asked_at`` is our standing when the reading began: an event that came in between must
        not make Redis look old. ``trusted`` is a Redis that has back all that can be put back.
        """
        if self.standing is None:
            self.standing = found
            return self._go_on([], now)
        if asked_at is None:
            return _NOTHING
        if found.contradicts(asked_at):
            if not trusted:
                return _NOTHING
            if self._behind_since is None:
                self._behind_since = now
            if now - self._behind_since < self._patience.confirm_s:
                return _NOTHING
            return self._reset_to(found)
        self._behind_since = None
        standing = self.standing
        if self._forked and found.seq <= standing.seq:
            # Redis holds every event before it is published, so these are from a lost history.
            self._held.clear()
            self._forked = False
            return self._go_on([], now)
        if found.seq > standing.seq and (self._ahead is None or found.seq > self._ahead.seq):
            self._ahead = found
            if self.stalled_since is None:
                self.stalled_since = now
        return _NOTHING

    def overdue(self, now: float) -> Sequence[News]:
        """What to tell when the wait for what is missing is over."""
        if self.stalled_since is None or now < self.stalled_since + self._patience.gap_wait_s:
            return _NOTHING
        return self._give_up(now)

    def deadline(self) -> float | None:
        """When ``overdue`` may have something to tell."""
        if self.stalled_since is None:
            return None
        return self.stalled_since + self._patience.gap_wait_s

    @staticmethod
    def _follows(event: Event, standing: Standing) -> bool:
        return event.seq == standing.seq + 1 and event.previous_cents == standing.price_cents

    def _hold(self, event: Event, standing: Standing, now: float) -> Sequence[News]:
        self._held.setdefault(event.seq, event)
        if event.seq == standing.seq + 1:
            self._forked = True
        if self._forked or not self._hole:
            self._hole = True
            self.wants_reading = True
            if self.stalled_since is None:
                self.stalled_since = now
        if len(self._held) > MAX_HELD:
            return self._give_up(now)
        return _NOTHING

    def _go_on(self, news: list[News], now: float) -> list[News]:
        """Adds the held events that follow now, and sees what is still missing."""
        assert self.standing is not None  # noqa: S101 - only called with a position
        while held := self._held.pop(self.standing.seq + 1, None):
            if not self._follows(held, self.standing):
                self._held[held.seq] = held
                self._forked = True
                self.wants_reading = True
                break
            self.standing = held.after
            news.append(held)
        seq = self.standing.seq
        self._held = {key: held for key, held in self._held.items() if key > seq}
        if self._ahead is not None and self._ahead.seq <= seq:
            self._ahead = None
        if self._held or self._ahead:
            self.stalled_since = now
            self._hole = bool(self._held)
            return news
        if self._hole and not any(isinstance(each, Jump) for each in news):
            self._counts.gaps_filled += 1
        self.stalled_since = None
        self._hole = False
        return news

    def _give_up(self, now: float) -> Sequence[News]:
        assert self.standing is not None  # noqa: S101 - only called with a position
        if not self._forked and self._held:
            first = self._held[min(self._held)]
            if first.after.price_cents > self.standing.price_cents:
                self._counts.gaps_jumped += 1
                self.standing = first.after
                return self._go_on([Jump(first.after, reset=False)], now)
            self._forked = True
        if self._ahead is None:
            # Histories differ, and which is true has to be read.
            self.wants_reading = True
            self.stalled_since = now
            while len(self._held) > MAX_HELD:
                del self._held[min(self._held)]
            return _NOTHING
        if self._forked or self._ahead.price_cents < self.standing.price_cents:
            return self._reset_to(self._ahead)
        self._counts.gaps_jumped += 1
        self.standing = self._ahead
        return self._go_on([Jump(self._ahead, reset=False)], now)

    def _reset_to(self, found: Standing) -> Sequence[News]:
        """Forgets what was held too: it may be of the history that Redis lost."""
        self._counts.resets += 1
        self.standing = found
        self._held.clear()
        self._ahead = self._behind_since = self.stalled_since = None
        self._hole = self._forked = False
        return (Jump(found, reset=True),)
