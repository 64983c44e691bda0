import asyncio

import pytest

from pkg.broadcast.fan_outs import FanOuts
from pkg.broadcast.in_order import MAX_PENDING, WRITES_A_STEP, InOrder
from pkg.broadcast.laggards import Laggards
from pkg.broadcast.metrics import Counts
from pkg.broadcast.sequencer import Jump
from tests.unit.broadcast.fake_transport import FakeTransport, connected_viewer
from tests.unit.broadcast.history import event, extended, item_view


class Harness:
    def __init__(self) -> None:
        self.counts = Counts()
        self.fan_outs = FanOuts()
        self.laggards = Laggards(slow_viewer_s=10, counts=self.counts)
        self.viewers = InOrder("lamp", self.fan_outs, self.laggards, self.counts)

    def publish(self, first: int, last: int) -> None:
        self.viewers.add([event(seq) for seq in range(first, last + 1)])
        self.viewers.flush()

    def step(self) -> None:
        """Runs one step of each unfinished fan-out."""
        for _ in range(len(self.fan_outs._unfinished)):
            self.fan_outs.start(self.fan_outs._unfinished.popleft())

    def finish(self) -> None:
        while self.fan_outs._unfinished:
            self.step()


@pytest.fixture
async def harness() -> Harness:
    return Harness()


def join(harness: Harness, count: int) -> list[FakeTransport]:
    transports = []
    for _ in range(count):
        viewer, transport = connected_viewer()
        harness.viewers.join(viewer, epoch=0)
        transports.append(transport)
    return transports


async def test_large_fan_out_is_split_into_steps(harness: Harness) -> None:
    transports = join(harness, 2 * WRITES_A_STEP + 1)

    harness.publish(1, 1)
    after_one = sum(transport.seqs() == [0, 1] for transport in transports)
    harness.finish()

    assert after_one == WRITES_A_STEP
    assert all(transport.seqs() == [0, 1] for transport in transports)


async def test_viewer_that_joins_during_a_fan_out_gets_every_event_once(
    harness: Harness,
) -> None:
    join(harness, 2 * WRITES_A_STEP)
    harness.publish(1, 3)
    harness.publish(4, 5)

    (late,) = join(harness, 1)
    harness.publish(6, 6)
    harness.finish()

    greeting, *later = late.seqs()
    assert greeting == 3
    assert later == [4, 5, 6]


async def test_events_published_during_a_fan_out_reach_each_viewer_in_order(
    harness: Harness,
) -> None:
    transports = join(harness, 3 * WRITES_A_STEP)

    for seq in range(1, 30):
        harness.publish(seq, seq)
        if seq % 3 == 0:
            harness.step()
    harness.finish()

    assert all(transport.seqs() == list(range(30)) for transport in transports)


async def test_viewer_is_sent_nothing_for_an_event_of_an_unknown_kind(harness: Harness) -> None:
    (before,) = join(harness, 1)

    harness.viewers.add([event(1), extended(2).applied_to(item_view(1)), event(3, previous=100)])
    harness.viewers.flush()
    harness.viewers.add([extended(4).applied_to(item_view(3))])
    harness.viewers.flush()
    (after,) = join(harness, 1)

    assert before.seqs() == [0, 1, 3]
    assert after.seqs() == [4]
    assert harness.counts.frames_sent == 2


async def test_viewers_that_left_during_a_fan_out_are_not_written_to(
    harness: Harness,
) -> None:
    connected = [connected_viewer() for _ in range(2 * WRITES_A_STEP)]
    for viewer, _ in connected:
        harness.viewers.join(viewer, epoch=0)

    harness.publish(1, 1)
    for viewer, transport in connected[::2]:
        transport.closing = True
        viewer.gone()
        harness.viewers.leave(viewer)
    harness.finish()

    assert all(transport.seqs() == [0, 1] for _, transport in connected[1::2])
    assert all(transport.seqs() == [0] for _, transport in connected[WRITES_A_STEP::2])


async def test_viewer_with_a_full_buffer_gets_nothing_until_it_drains(harness: Harness) -> None:
    slow, fast = join(harness, 2)
    harness.publish(1, 1)

    slow.buffered = 70_000
    harness.publish(2, 9)
    slow.buffered = 0
    harness.laggards._look(asyncio.get_running_loop().time())
    harness.publish(10, 10)

    assert fast.seqs() == list(range(11))
    assert slow.seqs() == [0, 1, 9, 10]
    assert slow.messages()[2]["skipped"] == 8
    assert harness.counts.frames_skipped == 8


async def test_snapshot_after_a_missed_reset_says_reset(harness: Harness) -> None:
    (slow,) = join(harness, 1)
    harness.publish(1, 9)

    slow.buffered = 70_000
    harness.viewers.add([Jump(item_view(4), reset=True)])
    harness.viewers.flush()
    slow.buffered = 0
    harness.laggards._look(asyncio.get_running_loop().time())

    snapshot = slow.messages()[-1]
    assert (snapshot["seq"], snapshot["reset"], snapshot["skipped"]) == (4, True, 0)


async def test_events_that_come_faster_than_they_are_sent_become_one_snapshot(
    harness: Harness,
) -> None:
    transports = join(harness, 2 * WRITES_A_STEP)

    harness.publish(1, 1)
    harness.publish(2, MAX_PENDING + 2)
    harness.finish()

    assert all(transport.seqs() == [0, 1, MAX_PENDING + 2] for transport in transports)
    assert transports[0].messages()[-1]["skipped"] == MAX_PENDING + 1
    assert harness.counts.fan_outs_collapsed == 1


async def test_viewer_behind_too_long_is_closed_and_the_others_stay(harness: Harness) -> None:
    slow, fast = join(harness, 2)
    slow.buffered = 70_000
    harness.publish(1, 1)

    harness.laggards._look(asyncio.get_running_loop().time() + 11)

    assert slow.closing
    assert slow.written.endswith(b"\x88\x02\x03\xf5")
    assert not fast.closing
    assert harness.counts.slow_viewers_closed == 1
