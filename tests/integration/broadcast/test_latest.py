"""mode=latest: the first change at once, then at most one snapshot a beat, the last always."""

import asyncio
from functools import partial

from pkg.trials.waiting import until
from tests.integration.broadcast.house import House
from tests.integration.broadcast.seats import SNAPSHOT_FIELDS, Seat, Seats
from tests.integration.processes import Services


async def test_first_change_is_told_at_once(services: Services, house: House, seats: Seats) -> None:
    service = await services.broadcast(env={"CONFLATE_MS": "60000"})
    seat = await seats.take(service, "lamp", "?mode=latest")

    await house.bid("lamp", user="eve")
    snapshot = await seat.next()

    assert seat.greeting["type"] == "connected"
    assert set(snapshot) == SNAPSHOT_FIELDS
    assert snapshot["type"] == "snapshot"
    assert (snapshot["seq"], str(snapshot["current_bid"])) == (1, "1.00")
    assert snapshot["highest_bidder_id"] == "eve"


async def test_a_burst_is_conflated_and_ends_with_the_last_state(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env={"CONFLATE_MS": "200"})
    seat = await seats.take(service, "lamp", "?mode=latest")
    reading = asyncio.create_task(seat.close_code(within_s=30))
    loop = asyncio.get_running_loop()
    began = loop.time()

    last = 0
    while loop.time() - began < 1.0 or last <= 50:
        last = (await house.bid("lamp"))[-1].seq
    waits_s = []
    for _ in range(4):
        last = (await house.bid("lamp"))[-1].seq
        published_at = loop.time()
        await until(partial(_has_seen, seat, last), within_s=5)
        waits_s.append(seat.arrived[-1] - published_at)
    reading.cancel()

    assert seat.seqs == sorted(set(seat.seqs))
    assert 3 <= len(seat.seen) <= (seat.arrived[-1] - began) / 0.2 + 1
    assert min(waits_s) < 0.2 + 0.5, waits_s  # the beat, and a busy machine


def _has_seen(seat: Seat, seq: int) -> bool:
    return seat.seqs[-1:] == [seq]


async def test_reset_is_told_to_viewers_of_the_latest_state_too(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env={"REPAIR_S": "0.5"})
    seat = await seats.take(service, "lamp", "?mode=latest")
    await house.bid("lamp", count=10)
    await seat.see(seq=10)

    house.forget_to("lamp", seq=4)
    await house.hold("lamp")
    snapshot = await seat.next(within_s=10)
    await house.bid("lamp")
    after = await seat.next()

    assert (snapshot["seq"], snapshot["reset"]) == (4, True)
    assert after["seq"] == 5
    assert "reset" not in after


async def test_several_viewers_of_the_latest_state_and_of_all_events_go_together(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast()
    every = await seats.take(service, "lamp")
    newest = [await seats.take(service, "lamp", "?mode=latest") for _ in range(5)]

    for _ in range(20):
        await house.bid("lamp", count=5)
    await every.see(seq=100)
    await asyncio.gather(*(seat.see(seq=100) for seat in newest))

    assert every.seqs == list(range(1, 101))
    for seat in newest:
        assert seat.seqs == sorted(set(seat.seqs))
        assert len(seat.seen) < 50
    assert await seats.metric(service, 'bid_viewers{mode="latest"}') == 5
    assert await seats.metric(service, "bid_frames_conflated_total") > 0
