"""An item that is watched: its position, and everybody who is told of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pkg.broadcast.in_order import InOrder
from pkg.broadcast.laggards import Laggards
from pkg.broadcast.latest import Latest
from pkg.broadcast.metrics import Counts
from pkg.broadcast.position import News, Patience, Position
from pkg.broadcast.rounds import Rounds
from pkg.broadcast.standing import Event, Standing
from pkg.broadcast.viewer import Mode, Viewer


class Reads(Protocol):
    def ask(self, channel: "Channel") -> None:
        """Reads the item from Redis soon, by a reading that starts after this call."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What all channels of a process share."""

    reads: Reads
    rounds: Rounds
    laggards: Laggards
    counts: Counts
    patience: Patience
    conflate_s: float


class Channel:
    """Nothing here awaits, so each call sees a whole state."""

    def __init__(self, item_id: str, partition: str, desk: Desk) -> None:
        self.item_id = item_id
        self.partition = partition
        self.position = Position(desk.patience, desk.counts)
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether the item could be read, once that is known."""
        self.users = 0
        """Viewers, and those who are about to be."""
        self.viewers: set[Viewer] = set()
        self._reads = desk.reads
        self._viewers_in = desk.counts.viewers
        self._in_order = InOrder(item_id, desk.rounds, desk.laggards, desk.counts)
        self._latest = Latest(
            item_id, desk.rounds, desk.laggards, desk.counts, conflate_s=desk.conflate_s
        )
        self._gap: asyncio.TimerHandle | None = None
        self._closed = False

    def event(self, event: Event) -> None:
        """Takes in an event from NATS. ``flush`` tells the viewers of all that came together."""
        self._take(self.position.event(event, _now()))

    def read(self, found: Standing, *, asked_at: Standing | None, trusted: bool = True) -> None:
        """Takes in what Redis held; see ``Position.read``."""
        if self._closed:
            return  # asked for, and not wanted any more
        if self.position.standing is None:
            self._in_order.told = self._latest.standing = found
        self._take(self.position.read(found, asked_at=asked_at, now=_now(), trusted=trusted))
        self.flush()
        if not self.opened.done():
            self.opened.set_result(True)

    def unreadable(self) -> None:
        if not self.opened.done():
            self.opened.set_result(False)

    def flush(self) -> None:
        self._in_order.flush()
        self._latest.flush()

    def join(self, viewer: Viewer) -> None:
        """Greets, and from then on tells all that follows."""
        self.viewers.add(viewer)
        self._viewers_in[viewer.mode] += 1
        if viewer.mode is Mode.LATEST:
            self._latest.join(viewer)
        else:
            self._in_order.join(viewer)

    def leave(self, viewer: Viewer) -> None:
        viewer.gone()
        self.viewers.discard(viewer)
        self._viewers_in[viewer.mode] -= 1
        self._in_order.leave(viewer)
        self._latest.leave(viewer)

    def close(self) -> None:
        """Nobody is left."""
        self._closed = True
        self._latest.close()
        if self._gap is not None:
            self._gap.cancel()
            self._gap = None

    def _take(self, news: Sequence[News]) -> None:
        if news:
            self._in_order.add(news)
            self._latest.add(news)
        if self.position.wants_reading:
            self.position.wants_reading = False
            self._reads.ask(self)
        if self._gap is None and (deadline := self.position.deadline()) is not None:
            self._gap = asyncio.get_running_loop().call_at(deadline, self._gap_is_due)

    def _gap_is_due(self) -> None:
        self._gap = None
        self._take(self.position.overdue(_now()))
        self.flush()


def _now() -> float:
    return asyncio.get_running_loop().time()
