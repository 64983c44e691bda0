"""A watched item: its sequencer and its viewers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pkg.broadcast.fan_outs import FanOuts
from pkg.broadcast.in_order import InOrder
from pkg.broadcast.item_view import Event, ItemView
from pkg.broadcast.laggards import Laggards
from pkg.broadcast.latest import Latest
from pkg.broadcast.metrics import Counts
from pkg.broadcast.sequencer import Patience, Sequencer, Update
from pkg.broadcast.viewer import Mode, Viewer


class Reads(Protocol):
    epochs: dict[str, int]
    """By partition, as last read from Redis."""

    def ask(self, channel: "Channel") -> None:
        """Reads the item from Redis soon, by a reading that starts after this call."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all channels of a process share."""

    reads: Reads
    fan_outs: FanOuts
    laggards: Laggards
    counts: Counts
    patience: Patience
    conflate_s: float


class Channel:
    """Nothing here awaits, so no call sees a half-made change."""

    def __init__(self, item_id: str, partition: str, shared: Shared) -> None:
        self.item_id = item_id
        self.partition = partition
        self.sequencer = Sequencer(shared.patience, shared.counts)
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Resolves to whether the item could be read."""
        self.archived: tuple[tuple[int, int], ItemView] | None = None
        """What the archive had when the item was not in Redis, and the mark that tells whether
        that still holds (``archived_reads``).
        """
        self.users = 0
        """Viewers, including those still waiting for their greeting."""
        self.viewers: set[Viewer] = set()
        self._reads = shared.reads
        self._viewers_in = shared.counts.viewers
        self._in_order = InOrder(item_id, shared.fan_outs, shared.laggards, shared.counts)
        self._latest = Latest(
            item_id, shared.fan_outs, shared.laggards, shared.counts, conflate_s=shared.conflate_s
        )
        self._gap: asyncio.TimerHandle | None = None
        self._closed = False

    def event(self, event: Event) -> None:
        """Takes an event from NATS. Viewers are told at the next ``flush``."""
        self._take(self.sequencer.event(event, _now()))

    def read(self, found: ItemView, *, asked_at: ItemView | None, trusted: bool = True) -> None:
        """Takes what was read from Redis; see ``Sequencer.read``."""
        if self._closed:
            return  # the last viewer left while it was read
        if self.sequencer.told is None:
            self._in_order.told = self._latest.current = found
        self._take(self.sequencer.read(found, asked_at=asked_at, now=_now(), trusted=trusted))
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
        """Greets the viewer, then tells it everything that follows."""
        self.viewers.add(viewer)
        self._viewers_in[viewer.mode] += 1
        epoch = self._reads.epochs.get(self.partition, 0)
        if viewer.mode is Mode.LATEST:
            self._latest.join(viewer, epoch=epoch)
        else:
            self._in_order.join(viewer, epoch=epoch)

    def leave(self, viewer: Viewer) -> None:
        viewer.gone()
        self.viewers.discard(viewer)
        self._viewers_in[viewer.mode] -= 1
        self._in_order.leave(viewer)
        self._latest.leave(viewer)

    def close(self) -> None:
        """Called when the last viewer has left."""
        self._closed = True
        self._latest.close()
        if self._gap is not None:
            self._gap.cancel()
            self._gap = None

    def _take(self, updates: Sequence[Update]) -> None:
        if updates:
            self._in_order.add(updates)
            self._latest.add(updates)
        if self.sequencer.wants_reading:
            self.sequencer.wants_reading = False
            self._reads.ask(self)
        if self._gap is None and (deadline := self.sequencer.deadline()) is not None:
            self._gap = asyncio.get_running_loop().call_at(deadline, self._gap_is_due)

    def _gap_is_due(self) -> None:
        self._gap = None
        self._take(self.sequencer.overdue(_now()))
        self.flush()


def _now() -> float:
    return asyncio.get_running_loop().time()
