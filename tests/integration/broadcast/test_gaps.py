"""Events that are missing, and a Redis that went back."""

import asyncio

import aiohttp
import pytest

from pkg.auction.item import partition_of
from pkg.trials.waiting import until
from tests.integration.broadcast.house import PARTITIONS, House
from tests.integration.broadcast.seats import Seats
from tests.integration.processes import Services
from tests.integration.providers import Servers

QUICK = {"GAP_WAIT_MS": "400", "REPAIR_S": "0.5"}
SLOW_TURNS = {"GAP_WAIT_MS": "400", "REPAIR_S": "60"}


async def test_lost_event_is_made_up_for_by_a_snapshot_and_counts_as_repaired(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env=SLOW_TURNS)
    seat = await seats.take(service, "lamp")
    await house.bid("lamp", count=3)
    await seat.see(seq=3)

    await house.accept("lamp", count=2)  # and never published
    await house.bid("lamp", count=4)
    await seat.see(seq=9)

    assert seat.seqs == [1, 2, 3, 6, 7, 8, 9]
    snapshot = seat.seen[3]
    assert snapshot["type"] == "snapshot"
    assert snapshot["skipped"] == 3
    assert str(snapshot["current_bid"]) == "6.00"
    assert "reset" not in snapshot
    assert await seats.metric(service, 'bid_gaps_total{outcome="snapshot"}') == 1
    assert await seats.metric(service, "bid_batches_missed_total") == 1


async def test_event_that_comes_late_but_in_time_fills_its_gap(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env={"GAP_WAIT_MS": "20000", "REPAIR_S": "60"})
    seat = await seats.take(service, "lamp")
    late = await house.accept("lamp", count=2)

    await house.bid("lamp", count=3)
    await house.publish(late)
    await seat.see(seq=5)

    assert seat.seqs == [1, 2, 3, 4, 5]
    assert all("type" not in message for message in seat.seen)
    assert await seats.metric(service, 'bid_gaps_total{outcome="filled"}') == 1


async def test_last_event_lost_is_noticed_by_reading_redis_in_turn(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env=QUICK)
    seat = await seats.take(service, "lamp")
    await house.bid("lamp", count=3)
    await seat.see(seq=3)

    await house.accept("lamp", count=2, user="eve")
    snapshot = await seat.next()

    assert (snapshot["type"], snapshot["seq"], snapshot["skipped"]) == ("snapshot", 5, 2)
    assert snapshot["highest_bidder_id"] == "eve"


async def test_last_event_lost_is_noticed_at_once_by_the_partition_s_next_batch(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env=SLOW_TURNS)
    seat = await seats.take(service, "lamp")
    await house.bid("lamp")
    await seat.see(seq=1)
    neighbour = next(
        name
        for name in (f"item-{number}" for number in range(100))
        if partition_of(name, PARTITIONS) == partition_of("lamp", PARTITIONS)
    )

    await house.accept("lamp", count=2)
    await house.bid(neighbour)
    snapshot = await seat.next()

    assert (snapshot["type"], snapshot["seq"], snapshot["skipped"]) == ("snapshot", 3, 2)
    assert await seats.metric(service, "bid_batches_missed_total") == 1


async def test_redis_set_back_resets_the_viewers_and_new_bids_go_on_from_there(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env=QUICK)
    seat = await seats.take(service, "lamp")
    await house.bid("lamp", count=10)
    await seat.see(seq=10)

    house.forget_to("lamp", seq=4)
    await house.hold("lamp", user="old")
    snapshot = await seat.next()
    await house.bid("lamp", count=2)
    await seat.see(seq=6)

    assert (snapshot["type"], snapshot["seq"], snapshot["reset"]) == ("snapshot", 4, True)
    assert (str(snapshot["current_bid"]), snapshot["highest_bidder_id"]) == ("4.00", "old")
    assert "skipped" not in snapshot
    assert seat.seqs[10:] == [4, 5, 6]
    assert await seats.metric(service, "bid_resets_total") == 1


async def test_redis_that_was_not_recovered_yet_resets_nobody(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env=QUICK)
    seat = await seats.take(service, "lamp")
    await house.bid("lamp", count=10)
    await seat.see(seq=10)
    read_before = await seats.metric(service, "bid_repair_reads_total")

    await house.close()
    house.forget_to("lamp", seq=4)
    await house.hold("lamp")

    async def read_often() -> bool:
        return await seats.metric(service, "bid_repair_reads_total") > read_before + 4

    await until(read_often, within_s=10)
    resets_while_closed = await seats.metric(service, "bid_resets_total")
    await house.open()
    snapshot = await seat.next()

    assert resets_while_closed == 0
    assert (snapshot["seq"], snapshot["reset"]) == (4, True)


async def test_nobody_is_greeted_with_what_a_redis_not_recovered_yet_still_holds(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env=QUICK)
    await house.bid("lamp", count=3)

    await house.close()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await seats.take(service, "lamp")
    await house.open()
    seat = await seats.take(service, "lamp")

    assert refused.value.status == 503
    assert seat.greeting["seq"] == 3


async def test_redis_with_another_bid_at_the_same_seq_resets_the_viewers(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env=QUICK)
    seat = await seats.take(service, "lamp")
    await house.bid("lamp", count=5)
    await seat.see(seq=5)

    house.forget_to("lamp", seq=4)
    await house.accept("lamp", user="other")  # seq 5 again, and never published
    snapshot = await seat.next()

    assert (snapshot["seq"], snapshot["reset"]) == (5, True)
    assert snapshot["highest_bidder_id"] == "other"


async def test_event_of_another_history_than_ours_is_not_told_before_redis_was_read(
    services: Services, house: House, seats: Seats
) -> None:
    """Redis forgot, and the bids placed since have just passed what we told."""
    service = await services.broadcast(env=SLOW_TURNS)
    seat = await seats.take(service, "lamp")
    await house.bid("lamp", count=5)
    await seat.see(seq=5)

    house.forget_to("lamp", seq=2, cents=150)
    await house.bid("lamp", count=3)
    await house.bid("lamp", user="eve")
    snapshot = await seat.next()
    await house.bid("lamp")
    await seat.see(seq=7)

    assert (snapshot["seq"], snapshot["reset"]) == (6, True)
    assert (str(snapshot["current_bid"]), snapshot["highest_bidder_id"]) == ("5.50", "eve")
    assert seat.seqs == [1, 2, 3, 4, 5, 6, 7]


async def test_item_is_neither_jumped_nor_reset_by_readings_between_a_bid_and_its_event(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env={"GAP_WAIT_MS": "20000", "REPAIR_S": "0.1"})
    seat = await seats.take(service, "lamp")
    reading = asyncio.create_task(seat.see(seq=505))

    async def readings() -> float:
        return await seats.metric(service, "bid_repair_reads_total")

    for _ in range(5):
        entries = await house.accept("lamp", count=100)
        so_far = await readings()

        async def read_twice(so_far: float = so_far) -> bool:
            return await readings() >= so_far + 2

        await until(read_twice, within_s=5)
        await house.publish(entries)
    await house.bid("lamp", count=5)
    await reading

    assert seat.seqs == list(range(1, 506))
    assert all("type" not in message for message in seat.seen)


async def test_without_nats_viewers_stay_and_get_snapshots_then_events_again(
    services: Services, servers: Servers, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env=QUICK)
    seat = await seats.take(service, "lamp")
    await house.bid("lamp")
    await seat.see(seq=1)

    servers.stop("nats")
    await house.accept("lamp", count=2)
    snapshot = await seat.next()
    async with seats.session.get(f"{service.url}/ready") as answer:
        status, ready = answer.status, await answer.json()
    late = await seats.take(service, "vase")
    servers.start("nats")
    await service.replicas[0].becomes_ready()
    await until(lambda: house.connected, within_s=10)
    await house.bid("lamp")
    await seat.see(seq=4)
    await house.bid("vase")
    await late.see(seq=1)

    assert (snapshot["seq"], snapshot["skipped"]) == (3, 2)
    assert (status, ready["checks"]["nats"]) == (503, "down")
    assert seat.seqs == [1, 3, 4]


async def test_what_was_missed_while_nats_was_away_is_read_when_it_is_back(
    services: Services, servers: Servers, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env=SLOW_TURNS)
    seat = await seats.take(service, "lamp")
    await house.bid("lamp")
    await seat.see(seq=1)

    servers.stop("nats")
    await house.accept("lamp", count=2)
    servers.start("nats")
    snapshot = await seat.next()  # sooner than any reading in turn

    assert (snapshot["type"], snapshot["seq"], snapshot["skipped"]) == ("snapshot", 3, 2)


async def test_without_redis_there_is_no_reset_and_events_go_on(
    services: Services, servers: Servers, house: House, seats: Seats
) -> None:
    service = await services.broadcast(env={**QUICK, "REDIS_TIMEOUT_S": "0.3"})
    seat = await seats.take(service, "lamp")
    await house.bid("lamp", count=2)
    await seat.see(seq=2)
    entries = await house.accept("lamp", count=3)

    servers.pause("redis")

    async def unready() -> bool:
        return not await service.replicas[0].ready()

    try:
        await until(unready, within_s=10)
        await house.publish(entries)
        await seat.see(seq=5)
        late = await seats.take(service, "lamp")
        async with seats.session.get(f"{service.url}/ready") as answer:
            ready = await answer.json()
        async with seats.session.get(
            f"{service.url}/ws/items/vase",
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            },
        ) as refused:
            refusal = (refused.status, refused.headers["Retry-After"], await refused.json())
    finally:
        servers.resume("redis")
    await service.replicas[0].becomes_ready()
    vase = await seats.take(service, "vase")

    assert seat.seqs == [1, 2, 3, 4, 5]
    assert late.greeting["seq"] == 5
    assert ready["checks"]["redis"] == "down"
    assert refusal[:2] == (503, "1")
    assert refusal[2]["code"] == "redis_unavailable"
    assert vase.greeting["seq"] == 0
