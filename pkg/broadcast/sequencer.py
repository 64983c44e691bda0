"""Puts one item's events in order and decides what viewers are told next.

The rules know neither sockets nor clocks (``now`` is any monotonic number of seconds):

- An event is told when it follows: it has the next ``seq``, and its ``previous_bid`` is our price.
- An event of an unknown kind is told by nothing, but takes its ``seq``; the price stays.
- An event at or below our ``seq`` is a duplicate: batches are sent again, and a refused publish
  still reaches core subscribers.
- An event beyond the next one is held back, because there is a gap. If nothing arrives within the
  gap's wait, a snapshot replaces what is missing.
- If Redis is ahead of us, those events are on their way or lost; they get the same wait.
- If Redis is behind us, or has another bid at our ``seq``, it lost what we told. Two readings have
  to agree on that, both from a Redis that is open for bids: after a restart it first gets back
  what JetStream holds. Then we adopt its state as a reset, the only way a price or seq goes down.
- An event that does not chain to our price belongs to another history: we are forked, and only
  Redis can say which history is true.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pkg.broadcast.item_view import Event, ItemView
from pkg.broadcast.metrics import Counts

MAX_HELD = 1000
"""Most events held back for an item. Beyond it we stop waiting for what is missing."""


class Jump(NamedTuple):
    """The state moved, but not by the next event."""

    after: ItemView
    reset: bool


Update = Event | Jump
_NOTHING: Sequence[Update] = ()


@dataclass(frozen=True, slots=True)
class Patience:
    gap_wait_s: float
    """How long to wait for missing events."""
    confirm_s: float
    """Least time between two readings that agree that Redis lost something."""


class Following(NamedTuple):
    """Nothing newer is known than what was told."""

    since: None = None
    ahead: None = None


class Gap(NamedTuple):
    """Something newer is known, and what lies between is awaited."""

    since: float
    """Nothing has moved since then."""
    ahead: ItemView | None = None
    """What Redis holds beyond us."""


class Forked(NamedTuple):
    """An event contradicts what was told. No event is told until Redis says which is true."""

    since: float | None
    """As in a gap; ``None`` while nothing newer is known."""
    ahead: ItemView | None = None


_FOLLOWING = Following()


class Sequencer:
    def __init__(self, patience: Patience, counts: Counts) -> None:
        self._patience = patience
        self._counts = counts
        self.told: ItemView | None = None
        """``None`` until Redis was read for the first time."""
        self.wants_reading = False
        """Something is missing or contradictory; whoever sees this reads Redis and clears it."""
        self._state: Following | Gap | Forked = _FOLLOWING
        self._held: dict[int, Event] = {}
        self._behind_since: float | None = None
        """When a reading first said that Redis lost what was told."""

    def event(self, event: Event, now: float) -> Sequence[Update]:
        """What to tell after an event that came from NATS, in order."""
        told, state = self.told, self._state
        if told is None:
            self._held.setdefault(event.seq, event)
            if len(self._held) > MAX_HELD:
                del self._held[min(self._held)]
            return _NOTHING
        if event.follows(told):
            event = event.applied_to(told)
            if state is _FOLLOWING:
                self.told = event.after
                return (event,)
            if not isinstance(state, Forked):
                return self._fill(event, now)
        if event.seq > told.seq:
            return self._hold(event, told, now)
        if event.after.differs_from(told):
            self._state = Forked(*state)
            self.wants_reading = True
        self._counts.events_duplicate += 1
        return _NOTHING

    def read(
        self, found: ItemView, *, asked_at: ItemView | None, now: float, trusted: bool = True
    ) -> Sequence[Update]:
        """What to tell after Redis was read.

        ``asked_at`` is what we had told when the reading began: an event that came in between must
        not make Redis look old. ``trusted`` is a Redis that is open for bids.
        """
        told, state = self.told, self._state
        if told is None:
            self.told = found
            return self._advance([], now)
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
        if isinstance(state, Forked) and found.seq <= told.seq:
            # Redis holds every event before it is published, so these are from a lost history.
            self._held.clear()
            return self._advance([], now)
        if found.seq > told.seq and (state.ahead is None or found.seq > state.ahead.seq):
            since = now if state.since is None else state.since
            kind = Forked if isinstance(state, Forked) else Gap
            self._state = kind(since, found)
        return _NOTHING

    def overdue(self, now: float) -> Sequence[Update]:
        """What to tell when the wait for what is missing is over."""
        deadline = self.deadline()
        return _NOTHING if deadline is None or now < deadline else self._give_up(now)

    def deadline(self) -> float | None:
        """When ``overdue`` may have something to tell."""
        since = self._state.since
        return None if since is None else since + self._patience.gap_wait_s

    def _hold(self, event: Event, told: ItemView, now: float) -> Sequence[Update]:
        first = not self._held
        self._held.setdefault(event.seq, event)
        since, ahead = self._state
        since = now if since is None else since
        if isinstance(self._state, Forked) or event.seq == told.seq + 1:
            self._state = Forked(since, ahead)
            self.wants_reading = True
        else:
            self._state = Gap(since, ahead)
            self.wants_reading |= first
        return self._give_up(now) if len(self._held) > MAX_HELD else _NOTHING

    def _fill(self, event: Event, now: float) -> Sequence[Update]:
        self.told = event.after
        had_gap = bool(self._held)
        updates = self._advance([event], now)
        if had_gap and self._state is _FOLLOWING:
            self._counts.gaps_filled += 1
        return updates

    def _advance(self, updates: list[Update], now: float) -> list[Update]:
        """Adds the held events that follow now, and finds out what is still missing."""
        assert self.told is not None  # noqa: S101 - only called once Redis was read
        forked = False
        while held := self._held.pop(self.told.seq + 1, None):
            if not held.follows(self.told):
                self._held[held.seq] = held
                forked = self.wants_reading = True
                break
            held = held.applied_to(self.told)
            self.told = held.after
            updates.append(held)
        seq, ahead = self.told.seq, self._state.ahead
        self._held = {key: held for key, held in self._held.items() if key > seq}
        if ahead is not None and ahead.seq <= seq:
            ahead = None
        if forked:
            self._state = Forked(now, ahead)
        elif self._held or ahead:
            self._state = Gap(now, ahead)
        else:
            self._state = _FOLLOWING
        return updates

    def _give_up(self, now: float) -> Sequence[Update]:
        assert self.told is not None  # noqa: S101 - only called once Redis was read
        forked, ahead = isinstance(self._state, Forked), self._state.ahead
        # Only a bid says what the item's price is after it.
        bids = [seq for seq, event in self._held.items() if event.bid is not None]
        if not forked and bids:
            first = self._held[min(bids)].after
            if first.price_cents > self.told.price_cents:
                return self._jump_to(first, now)
            forked = True
        if ahead is None:
            # The histories differ, or no bid came: Redis has to be read again.
            self._state = Forked(now) if forked else Gap(now)
            self.wants_reading = True
            while len(self._held) > MAX_HELD:
                del self._held[min(self._held)]
            return _NOTHING
        if forked or ahead.price_cents < self.told.price_cents:
            return self._reset_to(ahead)
        return self._jump_to(ahead, now)

    def _jump_to(self, found: ItemView, now: float) -> Sequence[Update]:
        self._counts.gaps_jumped += 1
        self.told = found
        return self._advance([Jump(found, reset=False)], now)

    def _reset_to(self, found: ItemView) -> Sequence[Update]:
        """Drops the held events too: they may be of the history that Redis lost."""
        self._counts.resets += 1
        self.told = found
        self._held.clear()
        self._behind_since = None
        self._state = _FOLLOWING
        return (Jump(found, reset=True),)
