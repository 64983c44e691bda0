"""Sends viewers only the newest state, at a limited rate."""

import asyncio
from collections.abc import Iterator, Sequence

from pkg.broadcast import frames
from pkg.broadcast.fan_outs import FanOuts
from pkg.broadcast.in_order import WRITES_A_STEP
from pkg.broadcast.item_view import ItemView
from pkg.broadcast.laggards import Laggards
from pkg.broadcast.metrics import Counts
from pkg.broadcast.sequencer import Jump, Update
from pkg.broadcast.viewer import Viewer


class Latest:
    """The viewers of one item who want its state: the first change at once, then conflated.

    All share one timer. A viewer's ``seq`` is the last it was told, so one who joined between two
    beats is not told the same state again.
    """

    def __init__(
        self,
        item_id: str,
        fan_outs: FanOuts,
        laggards: Laggards,
        counts: Counts,
        *,
        conflate_s: float,
    ) -> None:
        self.current = ItemView.unknown()
        self._item_id = item_id
        self._fan_outs = fan_outs
        self._laggards = laggards
        self._counts = counts
        self._conflate_s = conflate_s
        self._in_step: dict[Viewer, None] = {}
        self._resets = 0
        self._told = self.current
        self._beat: asyncio.TimerHandle | None = None
        self._fanning_out = False

    def add(self, updates: Sequence[Update]) -> None:
        self.current = updates[-1].after
        self._resets += sum(isinstance(each, Jump) and each.reset for each in updates)

    def flush(self) -> None:
        if self._beat is None and self._in_step and self._told is not self.current:
            self._beat = asyncio.get_running_loop().call_later(self._conflate_s, self._beats)
            if not self._fanning_out:
                self._fanning_out = True
                self._told = self.current
                self._fan_outs.start(self._fan_out())

    def join(self, viewer: Viewer, *, epoch: int) -> None:
        viewer.transport.write(
            frames.connected(self._item_id, viewer.client_id, self.current, epoch=epoch)
        )
        viewer.seq = self.current.seq
        viewer.resets = self._resets
        self._in_step[viewer] = None

    def leave(self, viewer: Viewer) -> None:
        self._in_step.pop(viewer, None)
        self._laggards.discard(viewer)

    def catch_up(self, viewer: Viewer) -> None:
        reset = viewer.resets != self._resets
        if reset or self.current.seq > viewer.seq:
            viewer.transport.write(frames.snapshot(self._item_id, self.current, reset=reset))
            self._counts.frames_sent += 1
            self._counts.snapshots_for_slow += 1
        viewer.seq = self.current.seq
        viewer.resets = self._resets
        self._in_step[viewer] = None

    def close(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def _beats(self) -> None:
        self._beat = None
        self.flush()

    def _fan_out(self) -> Iterator[None]:
        current, resets = self.current, self._resets
        plain = frames.snapshot(self._item_id, current)
        after_reset = frames.snapshot(self._item_id, current, reset=True)
        for number, viewer in enumerate(tuple(self._in_step), 1):
            transport = viewer.transport
            unaware = viewer.resets < resets
            changed = unaware or current.seq > viewer.seq
            if changed and viewer.open and not transport.is_closing():
                if transport.get_write_buffer_size() > viewer.limit:
                    self._in_step.pop(viewer, None)
                    self._laggards.add(viewer, self)
                else:
                    transport.write(after_reset if unaware else plain)
                    self._counts.frames_sent += 1
                    self._counts.snapshots_for_latest += 1
                    self._counts.frames_conflated += max(0, current.seq - viewer.seq - 1)
                    viewer.seq = current.seq
                    viewer.resets = resets
            if number % WRITES_A_STEP == 0:
                yield
        self._fanning_out = False
