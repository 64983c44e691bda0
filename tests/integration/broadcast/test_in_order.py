"""Every event, in order, without a gap or a duplicate, after a greeting."""

import asyncio
import random
from decimal import Decimal

from tests.integration.broadcast.house import House
from tests.integration.broadcast.seats import Seats
from tests.integration.processes import Services


async def test_viewer_is_greeted_with_redis_state_and_then_sees_newer_bids(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast()
    await house.accept("lamp", user="bob", count=2)

    seat = await seats.take(service, "lamp")
    await house.bid("lamp", user="eve")
    event = await seat.next()

    client_id = seat.greeting.pop("clientId")
    assert client_id
    assert seat.greeting == {
        "type": "connected",
        "itemId": "lamp",
        "seq": 2,
        "current_bid": Decimal("2.00"),
        "highest_bidder_id": "bob",
        "status": "active",
    }
    assert list(event) == [
        "event_id",
        "item_id",
        "bid_id",
        "user_id",
        "amount",
        "previous_bid",
        "timestamp",
        "seq",
    ]
    assert (event["item_id"], event["user_id"], event["seq"]) == ("lamp", "eve", 3)
    assert str(event["amount"]) == "3.00"
    assert str(event["previous_bid"]) == "2.00"


async def test_item_nobody_bid_on_is_greeted_with_nothing(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast()

    seat = await seats.take(service, "vase")
    await house.bid("vase")
    await seat.see(seq=1)

    assert seat.greeting["seq"] == 0
    assert str(seat.greeting["current_bid"]) == "0.00"
    assert seat.greeting["highest_bidder_id"] is None
    assert seat.seqs == [1]


async def test_viewers_of_an_item_see_nothing_of_another(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast()
    seat = await seats.take(service, "lamp")

    for item_id in ("vase", "chair", "lamp", "rug", "desk"):
        await house.bid(item_id)
    await seat.see(seq=1)

    assert [message["item_id"] for message in seat.seen] == ["lamp"]


async def test_address_by_query_is_the_same(services: Services, house: House, seats: Seats) -> None:
    service = await services.broadcast()
    await house.accept("lamp")

    async with seats.session.ws_connect(f"{service.url}/ws?item_id=lamp") as socket:
        greeting = await socket.receive_json(timeout=5)

    assert (greeting["itemId"], greeting["seq"]) == ("lamp", 1)


async def test_twenty_viewers_see_every_event_once_in_order_despite_resent_batches(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast()
    viewers = [await seats.take(service, "lamp") for _ in range(20)]
    random.seed(7)
    reading = [asyncio.create_task(viewer.see(seq=3000)) for viewer in viewers]

    published = []
    for _ in range(60):
        entries = await house.accept("lamp", count=50)
        published.append(entries)
        await house.publish(entries)
        if random.random() < 0.3:  # as after a refused publish, or a relay that took over
            await house.publish(random.choice(published))
        if random.random() < 0.2:
            await house.publish([entry for batch in published[-3:] for entry in batch])
    await asyncio.gather(*reading)

    for viewer in viewers:
        assert viewer.seqs == list(range(1, 3001))
    assert await seats.metric(service, 'bid_events_ignored_total{reason="duplicate"}') > 0


async def test_viewer_that_joins_in_a_burst_sees_a_snapshot_then_only_newer_without_a_gap(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast()
    steady = await seats.take(service, "lamp")
    reading = asyncio.create_task(steady.see(seq=2000))

    async def burst() -> None:
        for _ in range(200):
            await house.bid("lamp", count=10)

    bursting = asyncio.create_task(burst())
    late = [await seats.take(service, "lamp") for _ in range(10)]
    await asyncio.gather(
        *(viewer.see(seq=2000) for viewer in late if viewer.greeting["seq"] < 2000)
    )
    await asyncio.gather(bursting, reading)

    assert any(0 < viewer.greeting["seq"] < 2000 for viewer in late)
    for viewer in late:
        assert viewer.seqs == list(range(viewer.greeting["seq"] + 1, 2001))


async def test_first_viewer_that_joins_in_a_burst_misses_nothing(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast()
    items = [f"item-{number}" for number in range(8)]

    async def burst(item_id: str) -> None:
        for _ in range(40):
            await house.bid(item_id, count=3)

    bursts = [asyncio.create_task(burst(item_id)) for item_id in items]
    viewers = [await seats.take(service, item_id) for item_id in items]
    await asyncio.gather(
        *(viewer.see(seq=120) for viewer in viewers if viewer.greeting["seq"] < 120)
    )
    await asyncio.gather(*bursts)

    for viewer in viewers:
        assert viewer.seqs == list(range(viewer.greeting["seq"] + 1, 121))
        assert all("type" not in message for message in viewer.seen)


async def test_viewer_that_comes_back_is_greeted_with_what_happened_meanwhile(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast()
    seat = await seats.take(service, "lamp")
    await house.bid("lamp", count=2)
    await seat.see(seq=2)
    await seat.socket.close()

    await house.bid("lamp", count=3)
    back = await seats.take(service, "lamp")
    await house.bid("lamp")
    await back.see(seq=6)

    assert back.greeting["seq"] == 5
    assert back.seqs == [6]
