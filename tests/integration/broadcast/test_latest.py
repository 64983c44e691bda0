"""mode=latest: the first change at once, then at most one snapshot per `CONFLATE_MS`, and
always the last one.
"""

import asyncio
from functools import partial

from pkg.trials.waiting import until
from tests.integration.broadcast.fake_api import FakeApi
from tests.integration.broadcast.viewers import SNAPSHOT_FIELDS, Viewer, Viewers
from tests.integration.processes import Services


async def test_first_change_is_sent_at_once(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env={"CONFLATE_MS": "60000"})
    viewer = await viewers.connect(service, "lamp", "?mode=latest")

    await api.bid("lamp", user="eve")
    snapshot = await viewer.receive()

    assert viewer.greeting["type"] == "connected"
    assert set(snapshot) == SNAPSHOT_FIELDS
    assert snapshot["type"] == "snapshot"
    assert (snapshot["seq"], str(snapshot["current_bid"])) == (1, "1.00")
    assert snapshot["highest_bidder_id"] == "eve"


async def test_a_burst_is_conflated_and_ends_with_the_last_state(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env={"CONFLATE_MS": "200"})
    viewer = await viewers.connect(service, "lamp", "?mode=latest")
    reading = asyncio.create_task(viewer.close_code(within_s=30))
    loop = asyncio.get_running_loop()
    began = loop.time()

    last = 0
    while loop.time() - began < 1.0 or last <= 50:
        last = (await api.bid("lamp"))[-1].seq
    waits_s = []
    for _ in range(4):
        last = (await api.bid("lamp"))[-1].seq
        published_at = loop.time()
        await until(partial(_has_received, viewer, last), within_s=5)
        waits_s.append(viewer.received_at[-1] - published_at)
    reading.cancel()

    assert viewer.seqs == sorted(set(viewer.seqs))
    assert 3 <= len(viewer.received) <= (viewer.received_at[-1] - began) / 0.2 + 1
    assert min(waits_s) < 0.2 + 0.5, waits_s  # CONFLATE_MS, and half a second for a busy machine


def _has_received(viewer: Viewer, seq: int) -> bool:
    return viewer.seqs[-1:] == [seq]


async def test_reset_is_also_sent_in_mode_latest(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env={"REPAIR_S": "0.5"})
    viewer = await viewers.connect(service, "lamp", "?mode=latest")
    await api.bid("lamp", count=10)
    await viewer.receive_until(seq=10)

    api.rewind("lamp", seq=4)
    await api.write_state("lamp")
    snapshot = await viewer.receive(within_s=10)
    await api.bid("lamp")
    after = await viewer.receive()

    assert (snapshot["seq"], snapshot["reset"]) == (4, True)
    assert after["seq"] == 5
    assert "reset" not in after


async def test_viewers_of_one_item_can_use_both_modes(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast()
    ordered = await viewers.connect(service, "lamp")
    latest = [await viewers.connect(service, "lamp", "?mode=latest") for _ in range(5)]

    for _ in range(20):
        await api.bid("lamp", count=5)
    await ordered.receive_until(seq=100)
    await asyncio.gather(*(viewer.receive_until(seq=100) for viewer in latest))

    assert ordered.seqs == list(range(1, 101))
    for viewer in latest:
        assert viewer.seqs == sorted(set(viewer.seqs))
        assert len(viewer.received) < 50
    assert await viewers.metric(service, 'bid_viewers{mode="latest"}') == 5
    assert await viewers.metric(service, "bid_frames_conflated_total") > 0
