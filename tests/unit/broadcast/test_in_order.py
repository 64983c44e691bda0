import asyncio

import pytest

from pkg.broadcast.fan_outs import FanOuts
from pkg.broadcast.in_order import MAX_PENDING, WRITES_A_STEP, InOrder
from pkg.broadcast.laggards import Laggards
from pkg.broadcast.metrics import Counts
from pkg.broadcast.sequencer import Jump
from tests.unit.broadcast.crowd import Pipe, sit
from tests.unit.broadcast.history import event, standing


class Stage:
    def __init__(self) -> None:
        self.counts = Counts()
        self.fan_outs = FanOuts()
        self.laggards = Laggards(slow_viewer_s=10, counts=self.counts)
        self.viewers = InOrder("lamp", self.fan_outs, self.laggards, self.counts)

    def tell(self, first: int, last: int) -> None:
        self.viewers.add([event(seq) for seq in range(first, last + 1)])
        self.viewers.flush()

    def step(self) -> None:
        """One step of each large fan-out that is under way."""
        for _ in range(len(self.fan_outs._unfinished)):
            self.fan_outs.start(self.fan_outs._unfinished.popleft())

    def finish(self) -> None:
        while self.fan_outs._unfinished:
            self.step()


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def crowd(stage: Stage, count: int) -> list[Pipe]:
    pipes = []
    for _ in range(count):
        viewer, pipe = sit()
        stage.viewers.join(viewer)
        pipes.append(pipe)
    return pipes


async def test_large_fan_out_is_done_in_steps(stage: Stage) -> None:
    pipes = crowd(stage, 2 * WRITES_A_STEP + 1)

    stage.tell(1, 1)
    after_one = sum(pipe.seqs() == [0, 1] for pipe in pipes)
    stage.finish()

    assert after_one == WRITES_A_STEP
    assert all(pipe.seqs() == [0, 1] for pipe in pipes)


async def test_viewer_that_joins_in_the_midst_of_a_fan_out_misses_nothing_and_gets_nothing_twice(
    stage: Stage,
) -> None:
    crowd(stage, 2 * WRITES_A_STEP)
    stage.tell(1, 3)
    stage.tell(4, 5)

    (late,) = crowd(stage, 1)
    stage.tell(6, 6)
    stage.finish()

    greeting, *told = late.seqs()
    assert greeting == 3
    assert told == [4, 5, 6]


async def test_order_of_each_viewer_holds_when_events_come_during_a_fan_out(stage: Stage) -> None:
    pipes = crowd(stage, 3 * WRITES_A_STEP)

    for seq in range(1, 30):
        stage.tell(seq, seq)
        if seq % 3 == 0:
            stage.step()
    stage.finish()

    assert all(pipe.seqs() == list(range(30)) for pipe in pipes)


async def test_viewers_that_leave_in_the_midst_of_a_fan_out_are_not_written_to(
    stage: Stage,
) -> None:
    seated = [sit() for _ in range(2 * WRITES_A_STEP)]
    for viewer, _ in seated:
        stage.viewers.join(viewer)

    stage.tell(1, 1)
    for viewer, pipe in seated[::2]:
        pipe.closing = True
        viewer.gone()
        stage.viewers.leave(viewer)
    stage.finish()

    assert all(pipe.seqs() == [0, 1] for _, pipe in seated[1::2])
    assert all(pipe.seqs() == [0] for _, pipe in seated[WRITES_A_STEP::2])


async def test_viewer_whose_buffer_is_full_is_told_nothing_until_it_drains(stage: Stage) -> None:
    slow, fast = crowd(stage, 2)
    stage.tell(1, 1)

    slow.stuck = 70_000
    stage.tell(2, 9)
    slow.stuck = 0
    stage.laggards._look(asyncio.get_running_loop().time())
    stage.tell(10, 10)

    assert fast.seqs() == list(range(11))
    assert slow.seqs() == [0, 1, 9, 10]
    assert slow.messages()[2]["skipped"] == 8
    assert stage.counts.frames_skipped == 8


async def test_reset_missed_while_behind_is_told_with_the_snapshot(stage: Stage) -> None:
    (slow,) = crowd(stage, 1)
    stage.tell(1, 9)

    slow.stuck = 70_000
    stage.viewers.add([Jump(standing(4), reset=True)])
    stage.viewers.flush()
    slow.stuck = 0
    stage.laggards._look(asyncio.get_running_loop().time())

    snapshot = slow.messages()[-1]
    assert (snapshot["seq"], snapshot["reset"], snapshot["skipped"]) == (4, True, 0)


async def test_events_that_come_faster_than_they_can_be_told_become_one_snapshot(
    stage: Stage,
) -> None:
    pipes = crowd(stage, 2 * WRITES_A_STEP)

    stage.tell(1, 1)
    stage.tell(2, MAX_PENDING + 2)
    stage.finish()

    assert all(pipe.seqs() == [0, 1, MAX_PENDING + 2] for pipe in pipes)
    assert pipes[0].messages()[-1]["skipped"] == MAX_PENDING + 1
    assert stage.counts.fan_outs_collapsed == 1


async def test_viewer_behind_too_long_is_closed_and_the_others_stay(stage: Stage) -> None:
    slow, fast = crowd(stage, 2)
    slow.stuck = 70_000
    stage.tell(1, 1)

    stage.laggards._look(asyncio.get_running_loop().time() + 11)

    assert slow.closing
    assert slow.written.endswith(b"\x88\x02\x03\xf5")
    assert not fast.closing
    assert stage.counts.slow_viewers_closed == 1
