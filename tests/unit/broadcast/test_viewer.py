import pytest

from pkg.broadcast import frames
from pkg.broadcast.viewer import ViewerSocket
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
