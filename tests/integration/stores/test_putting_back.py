"""Redis gets back all that the stream holds after an id, and no price falls."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from nats.js import JetStreamContext
from redis.asyncio import Redis

from pkg.auction.bid import Bid, Strategy
from pkg.auction.events import (
    UnknownVersionError,
    decode_event,
    encode_batch,
    event_head,
    event_tail,
)
from pkg.auction.ids import uuid7
from pkg.auction.keys import item_key, meta_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM, events_subject
from pkg.runtime.nats_link import nats_link
from pkg.runtime.settings.sections import NatsSettings
from pkg.stores.putting_back import ItemRecord, PuttingBack, Tally
from pkg.stores.stream import ensure_stream, stream_config
from pkg.stores.stream_tail import batches_after
from tests.integration.providers import Stores

P = "p01"
AT = "2026-11-23T03:00:00.000001Z"
VASE = ItemRecord("vase", 5, 500, "ann", "e5", AT)


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[Redis]:
    async with Redis.from_url(stores.redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def jetstream(stores: Stores) -> AsyncIterator[JetStreamContext]:
    settings = NatsSettings(nats_url=stores.nats_url)
    async with nats_link(settings, name="test") as link:
        await link.wait_connected()
        await ensure_stream(link.jetstream, stream_config(settings))
        yield link.jetstream


def event(item_id: str, seq: int, *, cents: int = 0, user: str = "bob") -> bytes:
    bid = Bid(item_id, user, cents or seq * 100, event_id=f"e{seq}", bid_id=uuid7())
    return event_head(bid, Strategy.LUA) + event_tail(
        previous_cents=0, timestamp=AT.replace("000001", f"{seq:06d}"), seq=seq
    )


async def publish(
    jetstream: JetStreamContext, last: int, *events: bytes, partition: str = P
) -> None:
    batch = encode_batch(partition, prev=BEGINNING, last=OutboxId(last, 0), events=events)
    await jetstream.publish(events_subject(partition), batch)


async def put_back(redis: Redis, *records: ItemRecord) -> Tally:
    tally = Tally()
    await PuttingBack(redis).items(P, records, tally)
    return tally


async def hash_of(redis: Redis, item_id: str = "vase") -> dict[str, str]:
    state = await redis.hgetall(item_key(P, item_id))
    return {str(name): str(value) for name, value in state.items()}


async def test_lost_item_is_put_back_completely(redis: Redis) -> None:
    tally = await put_back(redis, VASE)

    assert tally == Tally(put_back=1)
    assert await hash_of(redis) == {
        "price": "500",
        "bidder": "ann",
        "seq": "5",
        "count": "5",
        "event_id": "e5",
        "opened_at": AT,
    }


async def test_each_item_that_is_put_back_is_counted_once(redis: Redis) -> None:
    lamp = replace(VASE, item_id="lamp")

    await put_back(redis, VASE, replace(VASE, seq=6, price_cents=600), lamp)
    await put_back(redis, VASE, replace(lamp, seq=7, price_cents=700))

    assert await redis.hget(meta_key(P), "items") == "2"


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (VASE, Tally()),
        (replace(VASE, seq=4, price_cents=900), Tally()),
        (replace(VASE, seq=6, price_cents=499), Tally(refused=1)),
        (replace(VASE, seq=6, price_cents=500), Tally(refused=1)),
    ],
)
async def test_older_and_not_higher_bids_are_not_written(
    redis: Redis, record: ItemRecord, outcome: Tally
) -> None:
    await put_back(redis, VASE)
    before = await hash_of(redis)

    tally = await put_back(redis, record)

    assert tally == outcome
    assert await hash_of(redis) == before


async def test_prices_and_seqs_compare_as_numbers(redis: Redis) -> None:
    await put_back(redis, replace(VASE, seq=9, price_cents=900))

    await put_back(redis, replace(VASE, seq=10, price_cents=999_999_999_999))

    state = await hash_of(redis)
    assert (state["seq"], state["price"]) == ("10", "999999999999")


async def test_an_item_is_open_since_its_first_bid_in_whatever_order_stores_tell(
    redis: Redis,
) -> None:
    later = replace(VASE, seq=9, price_cents=900, event_id="e9", timestamp=AT.replace("03:", "04:"))
    await put_back(redis, later)

    await put_back(redis, VASE)

    state = await hash_of(redis)
    assert (state["seq"], state["event_id"], state["opened_at"]) == ("9", "e9", AT)


async def test_newer_bid_keeps_opened_at(redis: Redis) -> None:
    await put_back(redis, VASE)

    await put_back(redis, replace(VASE, seq=6, price_cents=600, timestamp="later"))

    assert (await hash_of(redis))["opened_at"] == AT


async def test_count_includes_lost_bids(redis: Redis) -> None:
    await put_back(redis, VASE)
    await redis.hset(item_key(P, "vase"), "count", 4)  # as if one of five events were not a bid

    await put_back(redis, replace(VASE, seq=6, price_cents=600))
    after_one = (await hash_of(redis))["count"]
    await put_back(redis, replace(VASE, seq=9, price_cents=900))

    assert (after_one, (await hash_of(redis))["count"]) == ("5", "8")


async def test_outbox_moves_on_and_never_back(redis: Redis) -> None:
    putting_back = PuttingBack(redis)
    far = OutboxId(4_000_000_000_000, 5)

    await putting_back.move_outbox(P, BEGINNING)
    exists = await redis.exists(outbox_key(P))
    await putting_back.move_outbox(P, far)
    await putting_back.move_outbox(P, OutboxId(5, 5))

    assert exists == 0
    assert await redis.xlen(outbox_key(P)) == 0
    assert await redis.xadd(outbox_key(P), {"e": ""}) == str(far.next())


async def test_entries_in_the_outbox_stay(redis: Redis) -> None:
    await redis.xadd(outbox_key(P), {"e": "accepted"}, id="7-7")

    await PuttingBack(redis).move_outbox(P, OutboxId(9, 0))

    assert await redis.xrange(outbox_key(P)) == [("7-7", {"e": "accepted"})]


async def test_tail_of_the_stream_is_put_back_and_the_outbox_moved_past_it(
    redis: Redis, jetstream: JetStreamContext
) -> None:
    await publish(jetstream, 10, event("vase", 1), event("lamp", 1))
    await publish(jetstream, 20, event("vase", 2, user="cleo"), event("vase", 3, user="dan"))
    await publish(jetstream, 30, event("lamp", 2), partition="p02")
    await put_back(redis, replace(VASE, seq=1, price_cents=100))

    tally = await PuttingBack(redis).stream_tail(jetstream, P, OutboxId(10, 0))

    assert tally == Tally(put_back=2)
    assert await hash_of(redis) == {
        "price": "300",
        "bidder": "dan",
        "seq": "3",
        "count": "3",
        "event_id": "e3",
        "opened_at": AT,
    }
    assert await hash_of(redis, "lamp") == {}
    info = await redis.xinfo_stream(outbox_key(P))
    assert info["last-generated-id"] == "20-0"


async def test_tail_put_back_twice_gives_the_same_state(
    redis: Redis, jetstream: JetStreamContext
) -> None:
    await publish(jetstream, 10, event("vase", 1), event("vase", 2))
    await publish(jetstream, 20, event("vase", 3))
    putting_back = PuttingBack(redis)
    await putting_back.stream_tail(jetstream, P, BEGINNING)
    before = await hash_of(redis)

    tally = await putting_back.stream_tail(jetstream, P, BEGINNING)

    assert tally == Tally()
    assert await hash_of(redis) == before


async def test_outbox_moves_on_even_if_the_stream_is_empty(
    redis: Redis, jetstream: JetStreamContext
) -> None:
    tally = await PuttingBack(redis).stream_tail(jetstream, P, OutboxId(50, 1))

    assert tally == Tally()
    info = await redis.xinfo_stream(outbox_key(P))
    assert info["last-generated-id"] == "50-1"


@pytest.mark.parametrize(
    "foreign",
    [
        b"?",
        event("vase", 9).replace(b"9.00", b"1e999999999"),
        event("vase", 9).replace(b"9.00", b'"NaN"'),
        event("vase", 9).replace(b"9.00", b"9.001"),
        event("vase", 9).replace(b"9.00", b"-9.00"),
        event("vase", 9).replace(b"vase", b"a vase"),
        event("vase", 9).replace(b'"seq":9', b'"seq":-9'),
    ],
)
async def test_event_that_no_gateway_accepted_is_not_put_back(
    redis: Redis, jetstream: JetStreamContext, foreign: bytes
) -> None:
    if foreign == b"?":
        await jetstream.publish(events_subject(P), foreign)
    else:
        await publish(jetstream, 10, foreign)
    await publish(jetstream, 20, event("vase", 1))

    tally = await PuttingBack(redis).stream_tail(jetstream, P, BEGINNING)

    assert tally == Tally(put_back=1)
    assert (await hash_of(redis))["seq"] == "1"


async def test_event_of_a_newer_release_is_not_skipped(
    redis: Redis, jetstream: JetStreamContext
) -> None:
    await publish(jetstream, 100, event("vase", 1), b'{"kind":"shiny","item_id":"vase","seq":2}')

    with pytest.raises(UnknownVersionError, match="kind 'shiny'"):
        await PuttingBack(redis).stream_tail(jetstream, P, BEGINNING)

    assert not await redis.exists(outbox_key(P))


async def test_message_that_is_not_a_batch_hides_no_batch(
    jetstream: JetStreamContext,
) -> None:
    """At any position, even as the last message."""
    for number in range(1, 9):
        await publish(jetstream, number * 10)
        await jetstream.publish(events_subject(P), b"no batch")
    await publish(jetstream, 990, partition="p03")
    batch = encode_batch("p03", prev=BEGINNING, last=OutboxId(995, 0), events=[])
    await jetstream.publish(events_subject(P), batch)

    found = [
        [batch.last async for batch in batches_after(jetstream, P, OutboxId(number * 10, 0))]
        for number in range(9)
    ]

    assert found == [[f"{each * 10}-0" for each in range(n + 1, 9)] for n in range(9)]


async def test_missing_stream_gives_no_batches(jetstream: JetStreamContext) -> None:
    await jetstream.delete_stream(STREAM)

    found = [batch async for batch in batches_after(jetstream, P, BEGINNING)]

    assert found == []


@pytest.mark.parametrize("seed", range(12))
async def test_every_event_after_any_id_is_found_in_any_layout(
    jetstream: JetStreamContext, seed: int
) -> None:
    """Random layouts have runs republished in other batches, other partitions, an expired start and
    messages that are not batches. The expectation comes from reading everything.
    """
    rng = random.Random(seed)
    layout = await publish_random_layout(jetstream, rng)
    newest = layout[-1][-1]
    starts = {0, newest, *(batch[-1] for batch in layout), *rng.choices(range(newest), k=10)}

    for start in sorted(starts):
        found = [
            [decode_event(each).seq for each in batch.events]
            async for batch in batches_after(jetstream, P, OutboxId(start, 0))
        ]

        expected = {each for batch in layout for each in batch if each > start}
        assert expected <= {each for batch in found for each in batch}, (start, layout)
        # The batches found run to the end of the stream. After its newest id there are none.
        assert found == (layout[-len(found) :] if found else []), (start, layout)
        assert bool(found) == (start < newest), (start, layout)


async def publish_random_layout(jetstream: JetStreamContext, rng: random.Random) -> list[list[int]]:
    """Publishes random batches. Returns those still in the stream, as ids of their events."""
    newest = rng.randint(1, 40)
    runs = [range(1, newest + 1)]
    for _ in range(rng.randint(0, 3)):
        began, newest = rng.randint(1, newest), newest + rng.randint(0, 8)
        runs.append(range(began, newest + 1))
    batches = [batch for run in runs for batch in split_at_random(run, rng)]
    for batch in batches:
        if rng.random() < 0.2:
            await publish(jetstream, rng.randint(1, 99), partition="p02")
        if rng.random() < 0.1:
            await jetstream.publish(events_subject(P), b"no batch")
        await publish(jetstream, batch[-1], *(event("vase", each) for each in batch))
    if rng.random() < 0.5:
        state = (await jetstream.stream_info(STREAM)).state
        await jetstream.purge_stream(STREAM, seq=rng.randint(1, state.last_seq))
    info = await jetstream.stream_info(STREAM, subjects_filter=events_subject(P))
    left = (info.state.subjects or {})[events_subject(P)]
    foreign = await count_non_batches(jetstream)
    return batches[len(batches) - (left - foreign) :]


def split_at_random(run: range, rng: random.Random) -> list[list[int]]:
    """Splits a run into batches at random places."""
    batches: list[list[int]] = [[]]
    for each in run:
        batches[-1].append(each)
        if rng.random() < 0.6:
            batches.append([])
    return [batch for batch in batches if batch]


async def count_non_batches(jetstream: JetStreamContext) -> int:
    state = (await jetstream.stream_info(STREAM)).state
    messages = [
        await jetstream.get_msg(STREAM, number)
        for number in range(state.first_seq, state.last_seq + 1)
    ]
    return sum(message.data == b"no batch" for message in messages)
