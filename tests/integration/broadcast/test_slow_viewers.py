"""A viewer that does not keep up costs the others nothing, and little memory."""

import asyncio
import time

import psutil
import pytest

from pkg.trials.waiting import until
from tests.integration.broadcast.house import House
from tests.integration.broadcast.raw import RawViewers
from tests.integration.broadcast.seats import SNAPSHOT_FIELDS, Seats
from tests.integration.processes import Service, Services

# Small, so that few events fill them; the kernel's own are not ours to measure.
SMALL = {"VIEWER_SOCKET_BYTES": "16384", "VIEWER_BUFFER_BYTES": "16384"}
TINY_RECEIVE = 4096
SLOW_ITEM = "i" * 100  # long ids: fewer events fill a buffer
SLOW_USER = "u" * 100


async def overwhelm(house: House, *, batches: int, per_batch: int = 10) -> None:
    for _ in range(batches):
        await house.bid(SLOW_ITEM, count=per_batch, user=SLOW_USER)


async def behind(service: Service, seats: Seats, count: int) -> None:
    async def as_many() -> bool:
        return await seats.metric(service, "bid_viewers_behind") == count

    await until(as_many, within_s=10, log=lambda: service.log)


@pytest.mark.timeout(120)
async def test_viewers_that_never_read_neither_delay_the_others_nor_take_much_memory(
    services: Services, house: House, seats: Seats, raw: RawViewers
) -> None:
    service = await services.broadcast(env={"VIEWER_SOCKET_BYTES": "16384", "SLOW_VIEWER_S": "600"})
    for _ in range(20):
        await raw.connect(service, SLOW_ITEM, receive_bytes=TINY_RECEIVE)
    readers = [await raw.connect(service, SLOW_ITEM) for _ in range(200)]
    process = psutil.Process(service.replicas[0].pid)
    before = process.memory_info().rss

    lags_s = []
    for told in range(150, 1501, 150):
        await overwhelm(house, batches=15)
        published_at = time.monotonic()
        # Those who read keep up, so that none is behind where this process is starved.
        mark = b'"seq":%d}' % told
        await asyncio.gather(*(reader.read_until(mark, within_s=30) for reader in readers))
        lags_s.append(time.monotonic() - published_at)

    await behind(service, seats, 20)
    for reader in readers:
        seqs = [message["seq"] for message in reader.messages()]
        assert seqs == list(range(1501))
    assert max(lags_s) < 20  # those who never read are waited for ten minutes
    assert (process.memory_info().rss - before) / 20 < 256 * 1024


async def test_viewer_that_stalls_gets_one_snapshot_and_then_goes_on_in_order(
    services: Services, house: House, seats: Seats, raw: RawViewers
) -> None:
    service = await services.broadcast(env=SMALL)
    viewer = await raw.connect(service, SLOW_ITEM, receive_bytes=TINY_RECEIVE)

    await overwhelm(house, batches=40)
    await behind(service, seats, 1)
    await viewer.read_until(b'"type":"snapshot"')
    await house.bid(SLOW_ITEM, count=5)
    await viewer.read_until(b'"seq":405}')

    greeting, *told = viewer.messages()
    (at,) = (number for number, message in enumerate(told) if "type" in message)
    snapshot = told[at]
    assert greeting["seq"] == 0
    assert [message["seq"] for message in told[:at]] == list(range(1, at + 1))
    assert snapshot["seq"] == 400
    assert snapshot["skipped"] == 400 - at > 0
    assert (str(snapshot["current_bid"]), snapshot["highest_bidder_id"]) == ("400.00", SLOW_USER)
    assert set(snapshot) == SNAPSHOT_FIELDS | {"skipped"}
    assert [message["seq"] for message in told[at + 1 :]] == list(range(401, 406))


async def test_viewer_that_does_not_drain_in_time_is_closed_with_1013(
    services: Services, house: House, seats: Seats, raw: RawViewers
) -> None:
    service = await services.broadcast(env={**SMALL, "SLOW_VIEWER_S": "0.5"})
    viewer = await raw.connect(service, SLOW_ITEM, receive_bytes=TINY_RECEIVE)

    await overwhelm(house, batches=40)

    async def gave_up() -> bool:
        return await seats.metric(service, "bid_slow_viewers_closed_total") == 1

    await until(gave_up, within_s=10)
    await viewer.read_to_end()
    assert viewer.close_code() == 1013
    assert viewer.frames()[-1][0] == 8


async def test_slow_viewer_that_says_too_much_is_told_nothing_after_its_close(
    services: Services, house: House, seats: Seats, raw: RawViewers
) -> None:
    service = await services.broadcast(env=SMALL)
    viewer = await raw.connect(service, SLOW_ITEM, receive_bytes=TINY_RECEIVE)
    await overwhelm(house, batches=40)
    await behind(service, seats, 1)

    await viewer.say(b"x" * 5000)
    await behind(service, seats, 0)
    await viewer.read_to_end()

    assert viewer.close_code() == 1009
    assert viewer.frames()[-1][0] == 8


async def test_slow_viewer_that_never_reads_its_close_is_cut_off_and_its_place_freed(
    services: Services, house: House, seats: Seats, raw: RawViewers
) -> None:
    service = await services.broadcast(env={**SMALL, "SLOW_VIEWER_S": "0.5"})
    for _ in range(5):
        await raw.connect(service, SLOW_ITEM, receive_bytes=TINY_RECEIVE)

    await overwhelm(house, batches=40)

    async def nobody_left() -> bool:
        async with seats.session.get(f"{service.url}/stats/items/{SLOW_ITEM}") as answer:
            return bool((await answer.json())["subscribers"] == 0)

    await until(nobody_left, within_s=10)


async def test_slow_viewer_of_the_latest_state_gets_the_newest_when_it_drains(
    services: Services, house: House, seats: Seats, raw: RawViewers
) -> None:
    service = await services.broadcast(env={**SMALL, "CONFLATE_MS": "1"})
    viewer = await raw.connect(service, SLOW_ITEM, query="?mode=latest", receive_bytes=TINY_RECEIVE)

    async def is_behind() -> bool:
        await overwhelm(house, batches=20, per_batch=1)
        return await seats.metric(service, "bid_viewers_behind") == 1

    await until(is_behind, within_s=20)
    await house.bid(SLOW_ITEM, user="last")
    await viewer.read_until(b'"last"')

    seqs = [message["seq"] for message in viewer.messages()]
    assert seqs == sorted(set(seqs))
    assert len(seqs) < seqs[-1]


async def test_viewers_that_vanish_in_the_midst_of_a_fan_out_harm_nobody(
    services: Services, house: House, seats: Seats, raw: RawViewers
) -> None:
    service = await services.broadcast()
    steady = await raw.connect(service, "lamp")
    reading = asyncio.create_task(steady.read_until(b'"seq":600}'))

    async def come_and_go(how: int) -> None:
        while not reading.done():
            viewer = await raw.connect(service, "lamp")
            if how:
                await viewer.send(bytes((0x88, 0x82)) + bytes(4) + (1000).to_bytes(2, "big"))
            viewer.close()

    going = [asyncio.create_task(come_and_go(number % 2)) for number in range(20)]
    for _ in range(120):
        await house.bid("lamp", count=5)
    await reading
    await asyncio.gather(*going)

    assert [message["seq"] for message in steady.messages()] == list(range(601))
    assert await service.replicas[0].ready()
    assert "Traceback" not in service.log
