import pytest

from pkg.broadcast import frames
from pkg.broadcast.viewer import ViewerSocket
from pkg.trials.waiting import until
from tests.unit.broadcast.crowd import sit


async def test_nothing_is_sent_any_more_once_aiohttp_sends_a_close_frame() -> None:
    viewer, pipe = sit()
    connection = ViewerSocket(ping_s=54)
    connection.viewer = viewer

    with pytest.raises(RuntimeError):  # it has no connection, and comes no further
        await connection.close(code=1009)
    viewer.close(frames.TRY_AGAIN_LATER)

    assert not viewer.open
    assert not pipe.written


async def test_closing_twice_sends_one_close_frame() -> None:
    viewer, pipe = sit()

    viewer.close(frames.GOING_AWAY)
    viewer.close(frames.TRY_AGAIN_LATER)
    viewer.gone()

    assert pipe.written == frames.close(1001)


async def test_what_a_viewer_that_is_gone_never_reads_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pkg.broadcast.viewer.CLOSE_GRACE_S", 0.01)
    viewer, pipe = sit()
    pipe.stuck = 60_000

    viewer.gone()

    await until(lambda: pipe.aborted, within_s=1)


async def test_a_viewer_that_read_everything_is_not_cut_off_when_it_goes() -> None:
    viewer, _ = sit()

    viewer.close(frames.GOING_AWAY)
    viewer.gone()

    assert viewer._cut is not None
    assert viewer._cut.cancelled()
