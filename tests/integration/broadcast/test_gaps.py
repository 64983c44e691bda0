"""Missing events, and a Redis that lost writes."""

import asyncio

import aiohttp
import pytest

from pkg.auction.item import partition_of
from pkg.trials.waiting import until
from tests.integration.broadcast.fake_api import PARTITIONS, FakeApi
from tests.integration.broadcast.viewers import Viewers
from tests.integration.processes import Services
from tests.integration.providers import Servers

FREQUENT_READS = {"GAP_WAIT_MS": "400", "REPAIR_S": "0.5"}
RARE_READS = {"GAP_WAIT_MS": "400", "REPAIR_S": "60"}


async def test_snapshot_replaces_lost_events_and_is_counted(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env=RARE_READS)
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp", count=3)
    await viewer.receive_until(seq=3)

    await api.accept("lamp", count=2)  # never published
    await api.bid("lamp", count=4)
    await viewer.receive_until(seq=9)

    assert viewer.seqs == [1, 2, 3, 6, 7, 8, 9]
    snapshot = viewer.received[3]
    assert snapshot["type"] == "snapshot"
    assert snapshot["skipped"] == 3
    assert str(snapshot["current_bid"]) == "6.00"
    assert "reset" not in snapshot
    assert await viewers.metric(service, 'bid_gaps_total{outcome="snapshot"}') == 1
    assert await viewers.metric(service, "bid_batches_missed_total") == 1


async def test_late_event_fills_its_gap_within_the_wait(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env={"GAP_WAIT_MS": "20000", "REPAIR_S": "60"})
    viewer = await viewers.connect(service, "lamp")
    late = await api.accept("lamp", count=2)

    await api.bid("lamp", count=3)
    await api.publish(late)
    await viewer.receive_until(seq=5)

    assert viewer.seqs == [1, 2, 3, 4, 5]
    assert all("type" not in message for message in viewer.received)
    assert await viewers.metric(service, 'bid_gaps_total{outcome="filled"}') == 1


async def test_event_of_an_unknown_kind_leaves_no_gap_and_sends_nothing(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env=FREQUENT_READS)
    viewer = await viewers.connect(service, "lamp")

    await api.bid("lamp")
    await api.extend("lamp")
    await api.bid("lamp")
    await viewer.receive_until(seq=3)

    assert viewer.seqs == [1, 3]
    assert all("type" not in message for message in viewer.received)
    assert await viewers.metric(service, 'bid_events_ignored_total{reason="unknown_kind"}') == 1


async def test_loss_of_the_last_events_is_noticed_by_the_periodic_read_of_redis(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env=FREQUENT_READS)
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp", count=3)
    await viewer.receive_until(seq=3)

    await api.accept("lamp", count=2, user="eve")
    snapshot = await viewer.receive()

    assert (snapshot["type"], snapshot["seq"], snapshot["skipped"]) == ("snapshot", 5, 2)
    assert snapshot["highest_bidder_id"] == "eve"


async def test_loss_of_the_last_events_is_noticed_by_the_partition_s_next_batch(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env=RARE_READS)
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp")
    await viewer.receive_until(seq=1)
    neighbour = next(
        name
        for name in (f"item-{number}" for number in range(100))
        if partition_of(name, PARTITIONS) == partition_of("lamp", PARTITIONS)
    )

    await api.accept("lamp", count=2)
    await api.bid(neighbour)
    snapshot = await viewer.receive()

    assert (snapshot["type"], snapshot["seq"], snapshot["skipped"]) == ("snapshot", 3, 2)
    assert await viewers.metric(service, "bid_batches_missed_total") == 1


async def test_redis_that_lost_bids_resets_viewers_and_new_bids_follow(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env=FREQUENT_READS)
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp", count=10)
    await viewer.receive_until(seq=10)

    api.rewind("lamp", seq=4)
    await api.write_state("lamp", user="old")
    snapshot = await viewer.receive()
    await api.bid("lamp", count=2)
    await viewer.receive_until(seq=6)

    assert (snapshot["type"], snapshot["seq"], snapshot["reset"]) == ("snapshot", 4, True)
    assert (str(snapshot["current_bid"]), snapshot["highest_bidder_id"]) == ("4.00", "old")
    assert "skipped" not in snapshot
    assert viewer.seqs[10:] == [4, 5, 6]
    assert await viewers.metric(service, "bid_resets_total") == 1


async def test_no_viewer_is_reset_before_redis_is_recovered(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env=FREQUENT_READS)
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp", count=10)
    await viewer.receive_until(seq=10)
    read_before = await viewers.metric(service, "bid_repair_reads_total")

    await api.close_redis()
    api.rewind("lamp", seq=4)
    await api.write_state("lamp")

    async def read_often() -> bool:
        return await viewers.metric(service, "bid_repair_reads_total") > read_before + 4

    await until(read_often, within_s=10)
    resets_while_closed = await viewers.metric(service, "bid_resets_total")
    await api.open_redis()
    snapshot = await viewer.receive()

    assert resets_while_closed == 0
    assert service.log.count("not recovered yet") == 1
    assert (snapshot["seq"], snapshot["reset"]) == (4, True)


async def test_viewers_are_refused_until_redis_is_recovered(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env=FREQUENT_READS)
    await api.bid("lamp", count=3)

    await api.close_redis()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await viewers.connect(service, "lamp")
    await api.open_redis()
    viewer = await viewers.connect(service, "lamp")

    assert refused.value.status == 503
    assert viewer.greeting["seq"] == 3


async def test_redis_with_another_bid_at_the_same_seq_resets_the_viewers(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env=FREQUENT_READS)
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp", count=5)
    await viewer.receive_until(seq=5)

    api.rewind("lamp", seq=4)
    await api.accept("lamp", user="other")  # seq 5 again, never published
    snapshot = await viewer.receive()

    assert (snapshot["seq"], snapshot["reset"]) == (5, True)
    assert snapshot["highest_bidder_id"] == "other"


async def test_event_of_another_history_is_not_sent_before_redis_is_read(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    """Redis lost bids, and new ones have just passed the last `seq` sent to viewers."""
    service = await services.broadcast(env=RARE_READS)
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp", count=5)
    await viewer.receive_until(seq=5)

    api.rewind("lamp", seq=2, cents=150)
    await api.bid("lamp", count=3)
    await api.bid("lamp", user="eve")
    snapshot = await viewer.receive()
    await api.bid("lamp")
    await viewer.receive_until(seq=7)

    assert (snapshot["seq"], snapshot["reset"]) == (6, True)
    assert (str(snapshot["current_bid"]), snapshot["highest_bidder_id"]) == ("5.50", "eve")
    assert viewer.seqs == [1, 2, 3, 4, 5, 6, 7]


async def test_reading_redis_between_a_bid_and_its_event_causes_neither_snapshot_nor_reset(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env={"GAP_WAIT_MS": "20000", "REPAIR_S": "0.1"})
    viewer = await viewers.connect(service, "lamp")
    reading = asyncio.create_task(viewer.receive_until(seq=505))

    async def readings() -> float:
        return await viewers.metric(service, "bid_repair_reads_total")

    for _ in range(5):
        entries = await api.accept("lamp", count=100)
        so_far = await readings()

        async def read_twice(so_far: float = so_far) -> bool:
            return await readings() >= so_far + 2

        await until(read_twice, within_s=5)
        await api.publish(entries)
    await api.bid("lamp", count=5)
    await reading

    assert viewer.seqs == list(range(1, 506))
    assert all("type" not in message for message in viewer.received)


async def test_without_nats_viewers_stay_and_get_snapshots_and_later_events_again(
    services: Services, servers: Servers, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env=FREQUENT_READS)
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp")
    await viewer.receive_until(seq=1)

    servers.stop("nats")
    await api.accept("lamp", count=2)
    snapshot = await viewer.receive()
    async with viewers.session.get(f"{service.url}/ready") as answer:
        status, ready = answer.status, await answer.json()
    late = await viewers.connect(service, "vase")
    servers.start("nats")
    await service.replicas[0].becomes_ready()
    await until(lambda: api.connected, within_s=10)
    await api.bid("lamp")
    await viewer.receive_until(seq=4)
    await api.bid("vase")
    await late.receive_until(seq=1)

    assert (snapshot["seq"], snapshot["skipped"]) == (3, 2)
    assert (status, ready["checks"]["nats"]) == (503, "down")
    assert viewer.seqs == [1, 3, 4]


async def test_events_missed_without_nats_are_read_from_redis_on_reconnect(
    services: Services, servers: Servers, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env=RARE_READS)
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp")
    await viewer.receive_until(seq=1)

    servers.stop("nats")
    await api.accept("lamp", count=2)
    servers.start("nats")
    snapshot = await viewer.receive()  # before the next periodic read

    assert (snapshot["type"], snapshot["seq"], snapshot["skipped"]) == ("snapshot", 3, 2)


async def test_without_redis_events_go_on_and_only_viewers_of_unknown_items_are_refused(
    services: Services, servers: Servers, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast(env={**FREQUENT_READS, "REDIS_TIMEOUT_S": "0.3"})
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp", count=2)
    await viewer.receive_until(seq=2)
    entries = await api.accept("lamp", count=3)

    servers.pause("redis")

    async def unready() -> bool:
        return not await service.replicas[0].ready()

    try:
        await until(unready, within_s=10)
        await api.publish(entries)
        await viewer.receive_until(seq=5)
        late = await viewers.connect(service, "lamp")
        async with viewers.session.get(f"{service.url}/ready") as answer:
            ready = await answer.json()
        async with viewers.session.get(
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
    vase = await viewers.connect(service, "vase")

    assert viewer.seqs == [1, 2, 3, 4, 5]
    assert late.greeting["seq"] == 5
    assert ready["checks"]["redis"] == "down"
    assert refusal[:2] == (503, "1")
    assert refusal[2]["code"] == "redis_unavailable"
    assert vase.greeting["seq"] == 0
