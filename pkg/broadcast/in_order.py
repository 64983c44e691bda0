"""Sends viewers every event in order, without gaps or duplicates."""

from collections import deque
from collections.abc import Iterator, Sequence
from time import time

from pkg.broadcast import frames
from pkg.broadcast.fan_outs import FanOuts
from pkg.broadcast.item_view import Event, ItemView
from pkg.broadcast.laggards import Laggards
from pkg.broadcast.metrics import Counts
from pkg.broadcast.sequencer import Jump, Update
from pkg.broadcast.viewer import Viewer

WRITES_A_STEP = 500
"""Writes before another fan-out gets its turn: about 5 ms."""
BLOCK_BYTES = 16 * 1024
"""Waiting frames are joined into one write of up to about this size."""
MAX_PENDING = 2000
"""Most events that may wait for an item's fan-out; beyond it one snapshot replaces them."""


class InOrder:
    """The viewers of one item who want every event.

    ``told`` is the state that every viewer in step has been told, or is being told by the current
    fan-out. Whoever joins or catches up is told that state, then gets the pending updates like
    everyone else. This keeps a greeting exact in the middle of a burst.
    """

    def __init__(self, item_id: str, fan_outs: FanOuts, laggards: Laggards, counts: Counts) -> None:
        self.told = ItemView.unknown()
        self._item_id = item_id
        self._fan_outs = fan_outs
        self._laggards = laggards
        self._counts = counts
        self._in_step: dict[Viewer, None] = {}
        self._pending: deque[Update] = deque()
        self._resets = 0
        self._fanning_out = False

    def add(self, updates: Sequence[Update]) -> None:
        self._pending.extend(updates)
        if len(self._pending) > MAX_PENDING:
            self._collapse()

    def flush(self) -> None:
        if self._pending and not self._fanning_out:
            self._fanning_out = True
            self._fan_outs.start(self._fan_out())

    def join(self, viewer: Viewer, *, epoch: int) -> None:
        viewer.transport.write(
            frames.connected(self._item_id, viewer.client_id, self.told, epoch=epoch)
        )
        viewer.resets = self._resets
        self._in_step[viewer] = None

    def leave(self, viewer: Viewer) -> None:
        self._in_step.pop(viewer, None)
        self._laggards.discard(viewer)

    def catch_up(self, viewer: Viewer) -> None:
        skipped = max(0, self.told.seq - viewer.seq)
        reset = viewer.resets != self._resets
        viewer.transport.write(
            frames.snapshot(self._item_id, self.told, skipped=skipped, reset=reset)
        )
        viewer.resets = self._resets
        self._in_step[viewer] = None
        self._counts.frames_sent += 1
        self._counts.frames_skipped += skipped
        self._counts.snapshots_for_slow += 1

    def _fan_out(self) -> Iterator[None]:
        """Sends the pending updates to the viewers in step; yields every WRITES_A_STEP writes."""
        viewers = self._in_step
        writes = 0
        while self._pending:
            before, resets = self.told.seq, self._resets
            block, sent = self._next_block()
            if not block:
                continue
            for viewer in tuple(viewers):
                transport = viewer.transport
                if not viewer.open or transport.is_closing():
                    continue
                if transport.get_write_buffer_size() > viewer.limit:
                    self._falls_behind(viewer, before, resets)
                else:
                    transport.write(block)
                writes += 1
                if writes % WRITES_A_STEP == 0:
                    yield
            self._counts.frames_sent += len(sent) * len(viewers)
            if viewers:
                self._observe(sent)
        self._fanning_out = False

    def _next_block(self) -> tuple[bytes, list[Update]]:
        """Frames for one write, and the updates in them. Moves ``told`` to the last one."""
        parts: list[bytes] = []
        sent: list[Update] = []
        size = 0
        while self._pending and size < BLOCK_BYTES:
            update = self._pending.popleft()
            if isinstance(update, Jump):
                part = self._jump_frame(update)
            elif update.bid is None:
                self.told = update.after
                continue
            else:
                part = frames.bid(update.bid) if self._in_step else b""
            self.told = update.after
            parts.append(part)
            sent.append(update)
            size += len(part)
        return b"".join(parts), sent

    def _jump_frame(self, jump: Jump) -> bytes:
        if not jump.reset:
            self._counts.snapshots_for_gap += len(self._in_step)
            skipped = max(0, jump.after.seq - self.told.seq)
            return frames.snapshot(self._item_id, jump.after, skipped=skipped)
        self._resets += 1
        self._counts.snapshots_for_reset += len(self._in_step)
        for viewer in self._in_step:
            viewer.resets = self._resets
        return frames.snapshot(self._item_id, jump.after, reset=True)

    def _falls_behind(self, viewer: Viewer, seq: int, resets: int) -> None:
        """Records what the viewer was told last, which excludes the block it misses and any reset
        in it.
        """
        self._in_step.pop(viewer, None)
        viewer.seq = seq
        viewer.resets = resets
        self._laggards.add(viewer, self)

    def _collapse(self) -> None:
        self._counts.fan_outs_collapsed += 1
        reset = any(isinstance(update, Jump) and update.reset for update in self._pending)
        last = self._pending[-1]
        self._pending.clear()
        self._pending.append(Jump(last.after, reset=reset))

    def _observe(self, sent: list[Update]) -> None:
        now = time()
        for update in sent:
            if isinstance(update, Event):
                self._counts.delivery.observe(max(0.0, now - update.placed_at))
