"""After the greeting a viewer gets every event once, in order."""

import asyncio
import random
from decimal import Decimal

from tests.integration.broadcast.fake_api import FakeApi
from tests.integration.broadcast.viewers import Viewers
from tests.integration.processes import Services


async def test_viewer_is_greeted_with_the_state_in_redis_and_then_gets_newer_bids(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast()
    await api.accept("lamp", user="bob", count=2)

    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp", user="eve")
    event = await viewer.receive()

    client_id = viewer.greeting.pop("clientId")
    assert client_id
    assert viewer.greeting == {
        "type": "connected",
        "itemId": "lamp",
        "seq": 2,
        "current_bid": Decimal("2.00"),
        "highest_bidder_id": "bob",
        "status": "active",
        "epoch": 0,
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


async def test_greeting_tells_the_history_that_the_seqs_count_in(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast()
    await api.begin_epoch(7)
    await api.accept("lamp")
    before = await viewers.connect(service, "lamp")

    await api.begin_epoch(8)
    after = await viewers.connect(service, "vase")

    assert (before.greeting["epoch"], after.greeting["epoch"]) == (7, 8)


async def test_greeting_of_an_item_without_bids_has_seq_0_and_no_bidder(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast()

    viewer = await viewers.connect(service, "vase")
    await api.bid("vase")
    await viewer.receive_until(seq=1)

    assert viewer.greeting["seq"] == 0
    assert str(viewer.greeting["current_bid"]) == "0.00"
    assert viewer.greeting["highest_bidder_id"] is None
    assert viewer.seqs == [1]


async def test_viewer_gets_only_its_own_item_s_bids(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast()
    viewer = await viewers.connect(service, "lamp")

    for item_id in ("vase", "chair", "lamp", "rug", "desk"):
        await api.bid(item_id)
    await viewer.receive_until(seq=1)

    assert [message["item_id"] for message in viewer.received] == ["lamp"]


async def test_item_can_be_named_in_the_query(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast()
    await api.accept("lamp")

    async with viewers.session.ws_connect(f"{service.url}/ws?item_id=lamp") as socket:
        greeting = await socket.receive_json(timeout=5)

    assert (greeting["itemId"], greeting["seq"]) == ("lamp", 1)


async def test_twenty_viewers_get_every_event_once_in_order_despite_resent_batches(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast()
    connected = [await viewers.connect(service, "lamp") for _ in range(20)]
    random.seed(7)
    reading = [asyncio.create_task(viewer.receive_until(seq=3000)) for viewer in connected]

    published = []
    for _ in range(60):
        entries = await api.accept("lamp", count=50)
        published.append(entries)
        await api.publish(entries)
        if random.random() < 0.3:  # as after a refused publish or a relay's fail-over
            await api.publish(random.choice(published))
        if random.random() < 0.2:
            await api.publish([entry for batch in published[-3:] for entry in batch])
    await asyncio.gather(*reading)

    for viewer in connected:
        assert viewer.seqs == list(range(1, 3001))
    assert await viewers.metric(service, 'bid_events_ignored_total{reason="duplicate"}') > 0


async def test_viewer_that_joins_during_a_burst_gets_every_event_after_its_greeting(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast()
    steady = await viewers.connect(service, "lamp")
    reading = asyncio.create_task(steady.receive_until(seq=2000))

    async def burst() -> None:
        for _ in range(200):
            await api.bid("lamp", count=10)

    bursting = asyncio.create_task(burst())
    late = [await viewers.connect(service, "lamp") for _ in range(10)]
    await asyncio.gather(
        *(viewer.receive_until(seq=2000) for viewer in late if viewer.greeting["seq"] < 2000)
    )
    await asyncio.gather(bursting, reading)

    assert any(0 < viewer.greeting["seq"] < 2000 for viewer in late)
    for viewer in late:
        assert viewer.seqs == list(range(viewer.greeting["seq"] + 1, 2001))


async def test_first_viewer_of_an_item_that_joins_during_a_burst_misses_nothing(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast()
    items = [f"item-{number}" for number in range(8)]

    async def burst(item_id: str) -> None:
        for _ in range(40):
            await api.bid(item_id, count=3)

    bursts = [asyncio.create_task(burst(item_id)) for item_id in items]
    connected = [await viewers.connect(service, item_id) for item_id in items]
    await asyncio.gather(
        *(viewer.receive_until(seq=120) for viewer in connected if viewer.greeting["seq"] < 120)
    )
    await asyncio.gather(*bursts)

    for viewer in connected:
        assert viewer.seqs == list(range(viewer.greeting["seq"] + 1, 121))
        assert all("type" not in message for message in viewer.received)


async def test_viewer_that_reconnects_is_greeted_with_the_current_state(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast()
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp", count=2)
    await viewer.receive_until(seq=2)
    await viewer.socket.close()

    await api.bid("lamp", count=3)
    back = await viewers.connect(service, "lamp")
    await api.bid("lamp")
    await back.receive_until(seq=6)

    assert back.greeting["seq"] == 5
    assert back.seqs == [6]
