"""A slow viewer does not delay the others and takes little memory."""

import asyncio
import time

import psutil
import pytest

from pkg.trials.waiting import until
from tests.integration.broadcast.fake_api import FakeApi
from tests.integration.broadcast.raw import RawViewers
from tests.integration.broadcast.viewers import SNAPSHOT_FIELDS, Viewers
from tests.integration.processes import Service, Services

# Small, so that few events fill them.
SMALL_BUFFERS = {"VIEWER_SOCKET_BYTES": "16384", "VIEWER_BUFFER_BYTES": "16384"}
SMALL_RECEIVE_BYTES = 4096
SLOW_ITEM = "i" * 100  # long ids: fewer events fill a buffer
SLOW_USER = "u" * 100


async def publish_many(api: FakeApi, *, batches: int, per_batch: int = 10) -> None:
    for _ in range(batches):
        await api.bid(SLOW_ITEM, count=per_batch, user=SLOW_USER)


async def wait_until_behind(service: Service, viewers: Viewers, count: int) -> None:
    async def are_behind() -> bool:
        return await viewers.metric(service, "bid_viewers_behind") == count

    await until(are_behind, within_s=10, log=lambda: service.log)


@pytest.mark.timeout(120)
async def test_viewers_that_never_read_do_not_delay_the_others_or_take_much_memory(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast(env={"VIEWER_SOCKET_BYTES": "16384", "SLOW_VIEWER_S": "600"})
    for _ in range(20):
        await raw.connect(service, SLOW_ITEM, receive_bytes=SMALL_RECEIVE_BYTES)
    readers = [await raw.connect(service, SLOW_ITEM) for _ in range(200)]
    process = psutil.Process(service.replicas[0].pid)
    before = process.memory_info().rss

    lags_s = []
    for seq in range(150, 1501, 150):
        await publish_many(api, batches=15)
        published_at = time.monotonic()
        # Wait for the readers, so that none falls behind while this process gets no CPU.
        mark = b'"seq":%d}' % seq
        await asyncio.gather(*(reader.read_until(mark, within_s=30) for reader in readers))
        lags_s.append(time.monotonic() - published_at)

    await wait_until_behind(service, viewers, 20)
    for reader in readers:
        seqs = [message["seq"] for message in reader.messages()]
        assert seqs == list(range(1501))
    assert max(lags_s) < 20  # SLOW_VIEWER_S gives the stalled ones ten minutes
    assert (process.memory_info().rss - before) / 20 < 256 * 1024


async def test_viewer_that_stalled_gets_one_snapshot_and_then_events_in_order(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast(env=SMALL_BUFFERS)
    viewer = await raw.connect(service, SLOW_ITEM, receive_bytes=SMALL_RECEIVE_BYTES)

    await publish_many(api, batches=40)
    await wait_until_behind(service, viewers, 1)
    await viewer.read_until(b'"type":"snapshot"')
    await api.bid(SLOW_ITEM, count=5)
    await viewer.read_until(b'"seq":405}')

    greeting, *messages = viewer.messages()
    (at,) = (number for number, message in enumerate(messages) if "type" in message)
    snapshot = messages[at]
    assert greeting["seq"] == 0
    assert [message["seq"] for message in messages[:at]] == list(range(1, at + 1))
    assert snapshot["seq"] == 400
    assert snapshot["skipped"] == 400 - at > 0
    assert (str(snapshot["current_bid"]), snapshot["highest_bidder_id"]) == ("400.00", SLOW_USER)
    assert set(snapshot) == SNAPSHOT_FIELDS | {"skipped"}
    assert [message["seq"] for message in messages[at + 1 :]] == list(range(401, 406))


async def test_viewer_that_does_not_drain_in_time_is_closed_with_1013(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast(env={**SMALL_BUFFERS, "SLOW_VIEWER_S": "0.5"})
    viewer = await raw.connect(service, SLOW_ITEM, receive_bytes=SMALL_RECEIVE_BYTES)

    await publish_many(api, batches=40)

    async def closed_as_slow() -> bool:
        return await viewers.metric(service, "bid_slow_viewers_closed_total") == 1

    await until(closed_as_slow, within_s=10)
    await viewer.read_to_end()
    assert viewer.close_code() == 1013
    assert viewer.frames()[-1][0] == 8


async def test_slow_viewer_that_sends_too_much_gets_nothing_after_its_close_frame(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast(env=SMALL_BUFFERS)
    viewer = await raw.connect(service, SLOW_ITEM, receive_bytes=SMALL_RECEIVE_BYTES)
    await publish_many(api, batches=40)
    await wait_until_behind(service, viewers, 1)

    await viewer.send_text(b"x" * 5000)
    await wait_until_behind(service, viewers, 0)
    await viewer.read_to_end()

    assert viewer.close_code() == 1009
    assert viewer.frames()[-1][0] == 8


async def test_slow_viewer_that_never_reads_its_close_frame_is_cut_off(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast(env={**SMALL_BUFFERS, "SLOW_VIEWER_S": "0.5"})
    for _ in range(5):
        await raw.connect(service, SLOW_ITEM, receive_bytes=SMALL_RECEIVE_BYTES)

    await publish_many(api, batches=40)

    async def nobody_left() -> bool:
        async with viewers.session.get(f"{service.url}/stats/items/{SLOW_ITEM}") as answer:
            return bool((await answer.json())["subscribers"] == 0)

    await until(nobody_left, within_s=10)


async def test_slow_viewer_in_mode_latest_gets_the_newest_state_when_it_drains(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast(env={**SMALL_BUFFERS, "CONFLATE_MS": "1"})
    viewer = await raw.connect(
        service, SLOW_ITEM, query="?mode=latest", receive_bytes=SMALL_RECEIVE_BYTES
    )

    async def is_behind() -> bool:
        await publish_many(api, batches=20, per_batch=1)
        return await viewers.metric(service, "bid_viewers_behind") == 1

    await until(is_behind, within_s=20)
    await api.bid(SLOW_ITEM, user="last")
    await viewer.read_until(b'"last"')

    seqs = [message["seq"] for message in viewer.messages()]
    assert seqs == sorted(set(seqs))
    assert len(seqs) < seqs[-1]


async def test_viewers_that_disconnect_during_a_fan_out_do_no_harm(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast()
    steady = await raw.connect(service, "lamp")
    reading = asyncio.create_task(steady.read_until(b'"seq":600}'))

    async def connect_and_leave(*, with_close_frame: bool) -> None:
        while not reading.done():
            viewer = await raw.connect(service, "lamp")
            if with_close_frame:
                await viewer.send(bytes((0x88, 0x82)) + bytes(4) + (1000).to_bytes(2, "big"))
            viewer.close()

    leaving = [
        asyncio.create_task(connect_and_leave(with_close_frame=bool(number % 2)))
        for number in range(20)
    ]
    for _ in range(120):
        await api.bid("lamp", count=5)
    await reading
    await asyncio.gather(*leaving)

    assert [message["seq"] for message in steady.messages()] == list(range(601))
    assert await service.replicas[0].ready()
    assert "Traceback" not in service.log
