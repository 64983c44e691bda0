"""Telling viewers every event, in order, without a gap or a duplicate."""

from collections import deque
from collections.abc import Iterator, Sequence
from time import time

from pkg.broadcast import frames
from pkg.broadcast.laggards import Laggards
from pkg.broadcast.metrics import Counts
from pkg.broadcast.position import Jump, News
from pkg.broadcast.rounds import Rounds
from pkg.broadcast.standing import Event, Standing
from pkg.broadcast.viewer import Viewer

WRITES_A_STEP = 500
"""Viewers written to before others get their turn: about 5 ms."""
BLOCK_BYTES = 16 * 1024
"""Frames that wait together are written together, up to about this size."""
MAX_PENDING = 2000
"""Events that may wait for an item's fan-out; beyond it one snapshot stands in for them."""


class InOrder:
    """The viewers of one item who want every event.

    ``told`` is the state that every viewer in step has been told, or is being told by the fan-out
    that is under way. Whoever joins or catches up is told that state, and then gets what is
    pending like all others: that is what makes a greeting exact in the midst of a burst.
    """

    def __init__(self, item_id: str, rounds: Rounds, laggards: Laggards, counts: Counts) -> None:
        self.told = Standing.unknown()
        self._item_id = item_id
        self._rounds = rounds
        self._laggards = laggards
        self._counts = counts
        self._in_step: dict[Viewer, None] = {}
        self._pending: deque[News] = deque()
        self._resets = 0
        self._fanning_out = False

    def add(self, news: Sequence[News]) -> None:
        self._pending.extend(news)
        if len(self._pending) > MAX_PENDING:
            self._collapse()

    def flush(self) -> None:
        if self._pending and not self._fanning_out:
            self._fanning_out = True
            self._rounds.start(self._fan_out())

    def join(self, viewer: Viewer) -> None:
        viewer.transport.write(frames.connected(self._item_id, viewer.client_id, self.told))
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
        """Tells what is pending to the viewers in step, in steps of so many writes."""
        viewers = self._in_step
        writes = 0
        while self._pending:
            before, resets = self.told.seq, self._resets
            block, sent = self._next_block()
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

    def _next_block(self) -> tuple[bytes, list[News]]:
        """Frames that are written at once, and what they tell. ``told`` moves to their end."""
        parts: list[bytes] = []
        sent: list[News] = []
        size = 0
        while self._pending and size < BLOCK_BYTES:
            news = self._pending.popleft()
            if isinstance(news, Jump):
                part = self._jump_frame(news)
            else:
                part = frames.bid(news.bid) if self._in_step else b""
            self.told = news.after
            parts.append(part)
            sent.append(news)
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
        """Notes what it was told last: not the block that it misses, nor a reset in it."""
        self._in_step.pop(viewer, None)
        viewer.seq = seq
        viewer.resets = resets
        self._laggards.add(viewer, self)

    def _collapse(self) -> None:
        self._counts.fan_outs_collapsed += 1
        reset = any(isinstance(news, Jump) and news.reset for news in self._pending)
        last = self._pending[-1]
        self._pending.clear()
        self._pending.append(Jump(last.after, reset=reset))

    def _observe(self, sent: list[News]) -> None:
        now = time()
        for news in sent:
            if isinstance(news, Event):
                self._counts.delivery.observe(max(0.0, now - news.placed_at))
