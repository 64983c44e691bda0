import pytest

from pkg.broadcast import frames
from pkg.broadcast.viewer import ViewerSocket
from pkg.trials.waiting import until
from tests.unit.broadcast.fake_transport import connected_viewer


async def test_nothing_is_sent_after_aiohttp_has_closed_the_connection() -> None:
    viewer, transport = connected_viewer()
    connection = ViewerSocket(ping_s=54)
    connection.viewer = viewer

    with pytest.raises(RuntimeError):  # raised as there is no connection
        await connection.close(code=1009)
    viewer.close(frames.TRY_AGAIN_LATER)

    assert not viewer.open
    assert not transport.written


async def test_closing_twice_sends_one_close_frame() -> None:
    viewer, transport = connected_viewer()

    viewer.close(frames.GOING_AWAY)
    viewer.close(frames.TRY_AGAIN_LATER)
    viewer.gone()

    assert transport.written == frames.close(1001)


async def test_connection_of_a_departed_viewer_that_does_not_drain_is_aborted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pkg.broadcast.viewer.CLOSE_GRACE_S", 0.01)
    viewer, transport = connected_viewer()
    transport.buffered = 60_000

    viewer.gone()

    await until(lambda: transport.aborted, within_s=1)


async def test_connection_of_a_departed_viewer_that_drained_is_not_aborted() -> None:
    viewer, _ = connected_viewer()

    viewer.close(frames.GOING_AWAY)
    viewer.gone()

    assert viewer._cut is not None
    assert viewer._cut.cancelled()
