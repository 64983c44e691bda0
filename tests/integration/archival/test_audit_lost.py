"""The audit lists the bids that gateways witnessed but no store holds."""

import pytest
from redis.asyncio import Redis

from pkg.archival.audit.auction_side import UnreadableWitnessError
from pkg.archival.store import Connection
from pkg.auction.ids import uuid7
from pkg.auction.item import partition_of
from pkg.auction.keys import witnessed_key
from pkg.auction.witnessed import Witnessed
from tests.integration.archival.auction import PARTITIONS, Event, Item, accept
from tests.integration.archival.test_audit import archive_all, audit
from tests.integration.providers import Stores


async def _witness(stores: Stores, *events: Event) -> None:
    async with Redis.from_url(stores.redis_url) as redis:
        for each in events:
            bid = Witnessed(each.event_id, each.item_id, each.seq, "ann", each.cents)
            key = witnessed_key(partition_of(each.item_id, PARTITIONS))
            await redis.hset(key, bid.event_id, bid.text)


async def test_lists_exactly_the_witnessed_bids_that_no_store_holds(
    stores: Stores, archive: Connection
) -> None:
    events = Item("lamp").bids(3)
    gone = Event("lamp", 4, uuid7(), 450, b"")
    await accept(stores.redis_url, *events)
    await archive_all(archive, events)
    await _witness(stores, *events, gone)

    ok, findings = await audit(stores)

    assert not ok
    assert findings["lost"] == [
        {
            "item_id": "lamp",
            "seq": 4,
            "user_id": "ann",
            "amount": "4.50",
            "event_id": gone.event_id,
        }
    ]
    assert findings["failing"] == []


async def test_a_witnessed_bid_that_waits_in_its_outbox_is_not_lost(
    stores: Stores, archive: Connection
) -> None:
    """The worker is away and nothing is archived, but only a bid in no outbox is lost."""
    events = Item("lamp").bids(3)
    await accept(stores.redis_url, *events, outbox=True)
    gone = Event("lamp", 4, uuid7(), 450, b"")
    await _witness(stores, *events, gone)

    ok, findings = await audit(stores)

    assert not ok
    assert [each["seq"] for each in findings["lost"]] == [4]


async def test_passes_if_every_witnessed_bid_is_archived(
    stores: Stores, archive: Connection
) -> None:
    events = Item("lamp").bids(3)
    await accept(stores.redis_url, *events)
    await archive_all(archive, events)
    await _witness(stores, *events)

    ok, findings = await audit(stores)

    assert (ok, findings["lost"]) == (True, [])


async def test_a_witnessed_bid_among_the_dead_letters_is_not_lost(
    stores: Stores, archive: Connection
) -> None:
    first = Item("lamp").bid()
    other = Item("lamp").bid()
    await accept(stores.redis_url, first)
    await archive_all(archive, [first, other])
    await _witness(stores, first, other)

    _, findings = await audit(stores)

    assert findings["dead_letters_in_all"] == 1
    assert findings["lost"] == []


async def test_a_field_that_no_gateway_wrote_is_an_error(
    stores: Stores, archive: Connection
) -> None:
    events = Item("lamp").bids(1)
    await accept(stores.redis_url, *events)
    await archive_all(archive, events)
    async with Redis.from_url(stores.redis_url) as redis:
        await redis.hset(witnessed_key(partition_of("lamp", PARTITIONS)), "odd", b"not \xff one")

    with pytest.raises(UnreadableWitnessError, match="no gateway writes: 'odd'"):
        await audit(stores)
