"""The bidding rule on real Redis, against a small model."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from pkg.api.app import Ledgers
from pkg.api.bidding import ledger as ledger_module
from pkg.api.bidding.bid_link import PLACE_BID
from pkg.api.bidding.ledger import number_of_items
from pkg.api.errors import ItemsFull, MaybeArchived, OutboxFull, RedisUnavailable
from pkg.auction.bid import Accepted, Bid, Outcome, Strategy, TooLow
from pkg.auction.departed import HASHES, bits_of
from pkg.auction.events import BidEvent, event_head, event_tail, redis_timestamp
from pkg.auction.item import ItemState, partition_of
from pkg.auction.keys import departed_key, item_key, meta_key, outbox_key
from pkg.auction.money import MAX_CENTS
from pkg.stores.redis_meta import DEPARTURES, ITEMS
from tests.integration.api.conftest import allow
from tests.integration.api.parts import (
    PARTITIONS,
    bid,
    decoded_outbox,
    ledgers,
    opened,
    outbox_events,
    rises_without_gap,
    settings_for,
)
from tests.integration.providers import Stores

_examples = itertools.count(1)


@dataclass
class Model:
    """The rule for one item."""

    accepted: list[Bid] = field(default_factory=list)

    @property
    def price(self) -> int:
        return self.accepted[-1].amount_cents if self.accepted else 0

    def place(self, one: Bid) -> Outcome:
        if one.amount_cents <= self.price:
            return TooLow(self.price)
        self.accepted.append(one)
        return Accepted(seq=len(self.accepted))


@pytest.fixture(params=["0", "1000"], ids=["no-price-cache", "price-cache"])
async def both(stores: Stores, request: pytest.FixtureRequest) -> AsyncIterator[Ledgers]:
    async with ledgers(settings_for(stores, PRICE_CACHE_ITEMS=request.param)) as made:
        yield made


amounts = st.one_of(
    st.integers(1, 30),
    st.integers(1, MAX_CENTS),
    st.sampled_from([1, 99, 100, 101, 110, MAX_CENTS, MAX_CENTS - 1, 2**31, 2**32 + 5, 10**11 + 7]),
)
sequences = st.lists(
    st.tuples(
        st.sampled_from(Strategy),
        st.integers(0, 2),
        st.sampled_from(["ann", "bob", "u:1.2-3_X"]),
        amounts,
    ),
    max_size=25,
)


@pytest.mark.parametrize("only", [Strategy.LUA, Strategy.OPTIMISTIC, None], ids=str)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=sequences)
async def test_answers_state_and_events_match_the_model(
    both: Ledgers,
    redis: Redis,
    only: Strategy | None,
    history: list[tuple[Strategy, int, str, int]],
) -> None:
    example = next(_examples)
    models: dict[str, Model] = {}
    strategy_of: dict[str, Strategy] = {}

    for strategy, number, user, cents in history:
        one = bid(cents, item=f"e{example}-{number}", user=user)
        strategy_of[one.event_id] = only or strategy
        expected = models.setdefault(one.item_id, Model()).place(one)

        outcome = await both.of(only or strategy).place(one)

        if isinstance(outcome, TooLow) and isinstance(expected, TooLow) and not only:
            # Prices are cached per connection: one may refuse by an older price.
            assert one.amount_cents <= outcome.price_cents <= expected.price_cents
        else:
            assert outcome == expected

    events = await decoded_outbox(redis)
    raw = {event for each in (await outbox_events(redis)).values() for event in each}
    for item_id, model in models.items():
        state = await both.items.read(item_id)
        last = model.accepted[-1]
        assert state == ItemState(
            price_cents=last.amount_cents,
            bidder=last.user_id,
            seq=len(model.accepted),
            count=len(model.accepted),
            event_id=last.event_id,
            opened_at=events[item_id][0].timestamp,
        )
        previous = 0
        for seq, (event, placed) in enumerate(
            zip(events[item_id], model.accepted, strict=True), start=1
        ):
            # Both strategies write the very bytes that Python's functions return.
            assert raw >= {
                event_head(placed, strategy_of[placed.event_id])
                + event_tail(previous_cents=previous, timestamp=event.timestamp, seq=seq)
            }
            assert event.amount == Decimal(placed.amount_cents) / 100
            previous = placed.amount_cents
    for item_id in {one for one in events if one.startswith(f"e{example}-")}:
        assert item_id in models


@pytest.mark.parametrize("strategy", Strategy)
async def test_an_equal_bid_is_refused_and_leaves_no_event(
    both: Ledgers, redis: Redis, strategy: Strategy
) -> None:
    await both.of(strategy).place(bid(20000, user="ann"))

    outcome = await both.of(strategy).place(bid(20000, user="bob"))

    assert outcome == TooLow(20000)
    assert (await both.items.read("vase")).bidder == "ann"
    assert [event.user_id for event in (await decoded_outbox(redis))["vase"]] == ["ann"]


@pytest.mark.parametrize("mixed", [False, True])
async def test_concurrent_bids_on_few_items_rise_without_gap(
    both: Ledgers, redis: Redis, *, mixed: bool
) -> None:
    bids = [bid(1 + (n * 7919) % 500, item=f"item-{n % 3}", user=f"u{n}") for n in range(600)]

    async def place(number: int, one: Bid) -> Outcome:
        strategy = Strategy.LUA if mixed and number % 2 else Strategy.OPTIMISTIC
        return await both.of(strategy).place(one)

    outcomes = await asyncio.gather(*(place(number, one) for number, one in enumerate(bids)))

    events = await decoded_outbox(redis)
    for item_id, told in events.items():
        accepted = [
            (one.event_id, outcome.seq, one.amount_cents)
            for one, outcome in zip(bids, outcomes, strict=True)
            if one.item_id == item_id and isinstance(outcome, Accepted)
        ]
        assert rises_without_gap(told)
        assert sorted(accepted, key=lambda each: each[1]) == [
            (event.event_id, event.seq, int(event.amount * 100)) for event in told
        ]
        assert max(each[2] for each in accepted) == max(
            one.amount_cents for one in bids if one.item_id == item_id
        )


async def test_optimistic_rounds_of_two_gateways_are_checked_against_each_other(
    stores: Stores, redis: Redis
) -> None:
    """Each gateway has one connection for rounds: a second round on it would go unchecked."""
    one_connection = settings_for(
        stores, OPTIMISTIC_CONNECTIONS="1", OPTIMISTIC_TRIES="500", PRICE_CACHE_ITEMS="0"
    )
    async with ledgers(one_connection) as first, ledgers(one_connection) as second:
        outcomes = await asyncio.gather(
            *(
                ledger.optimistic.place(bid(n, item=item, user=f"u{n}"))
                for n in range(1, 120)
                for item in ("left", "right")
                for ledger in (first, second)
            )
        )

    events = await decoded_outbox(redis)
    assert rises_without_gap(events["left"])
    assert rises_without_gap(events["right"])
    assert sum(isinstance(each, Accepted) for each in outcomes) == sum(map(len, events.values()))


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_full_outbox_refuses_and_writes_nothing(
    stores: Stores, redis: Redis, strategy: Strategy
) -> None:
    async with ledgers(settings_for(stores, OUTBOX_MAX_ENTRIES="2")) as made:
        ledger = made.of(strategy)
        await ledger.place(bid(100))
        await ledger.place(bid(200))

        with pytest.raises(OutboxFull):
            await ledger.place(bid(300))

        assert (await made.items.read("vase")).price_cents == 200
        assert len((await decoded_outbox(redis))["vase"]) == 2
        assert await ledger.place(bid(150)) == TooLow(200)


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_bid_that_makes_an_item_too_many_is_refused_and_writes_nothing(
    stores: Stores, redis: Redis, strategy: Strategy
) -> None:
    first, second, third = [
        f"i{n}" for n in range(99) if partition_of(f"i{n}", PARTITIONS) == "p00"
    ][:3]
    async with ledgers(settings_for(stores, ITEMS_MAX="2")) as made:
        ledger = made.of(strategy)
        for item in (first, first, second):
            await ledger.place(bid(100 + len(await decoded_outbox(redis)), item=item))
        events = await decoded_outbox(redis)

        with pytest.raises(ItemsFull):
            await ledger.place(bid(100, item=third))

        assert await decoded_outbox(redis) == events
        assert not await redis.exists(item_key("p00", third))
        assert await redis.hget(meta_key("p00"), ITEMS) == b"2"
        assert await ledger.place(bid(300, item=first)) == Accepted(3)


@pytest.mark.parametrize("strategy", Strategy)
async def test_an_item_may_be_archived_only_if_all_of_its_bits_are_set(
    both: Ledgers, redis: Redis, strategy: Strategy
) -> None:
    for lacking in range(HASHES):
        item = f"item-{lacking}"
        partition = partition_of(item, PARTITIONS)
        bits = bits_of(item_key(partition, item))
        await redis.hset(meta_key(partition), DEPARTURES, 1)  # whoever sets a bit counts it
        for number, bit in enumerate(bits):
            await redis.setbit(departed_key(partition), bit, int(number != lacking))
        assert (await both.items.read(item)).seq == 0
        assert await both.of(strategy).place(bid(100, item=item)) == Accepted(1)

        await redis.delete(item_key(partition, item))
        await redis.setbit(departed_key(partition), bits[lacking], 1)
        with pytest.raises(MaybeArchived):
            await both.of(strategy).place(bid(200, item=item))
        with pytest.raises(MaybeArchived):
            await both.items.read(item)


async def test_reading_an_unknown_item_asks_no_filter_where_nothing_ever_left(
    both: Ledgers, redis: Redis
) -> None:
    await redis.config_resetstat()

    assert (await both.items.read("nobody-s")).seq == 0

    assert "cmdstat_evalsha" not in await redis.info("commandstats")


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_bid_and_its_event_are_written_together_or_not_at_all(
    both: Ledgers, redis: Redis, strategy: Strategy
) -> None:
    """Redis at its memory limit refuses the very first write."""
    await both.of(strategy).place(bid(100))
    limit = str((await redis.config_get("maxmemory"))["maxmemory"])
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(RedisUnavailable):
            await both.of(strategy).place(bid(200))
    finally:
        await redis.config_set("maxmemory", limit)

    assert (await both.items.read("vase")).price_cents == 100
    assert len((await decoded_outbox(redis))["vase"]) == 1


VASE = item_key(partition_of("vase", PARTITIONS), "vase")
OUTBOX = outbox_key(partition_of("vase", PARTITIONS))
META = meta_key(partition_of("vase", PARTITIONS))
LAST_ID = "18446744073709551615-18446744073709551615"

Break = Callable[[Redis], Awaitable[object]]


def field_is(name: str, value: str) -> Break:
    def breaks(redis: Redis) -> Awaitable[object]:
        return redis.hset(VASE, name, value)

    breaks.__name__ = f"{name}={value}"  # pytest shows it
    return breaks


async def item_of_another_type(redis: Redis) -> None:
    await redis.set(VASE, "text")


async def outbox_of_another_type(redis: Redis) -> None:
    await redis.set(OUTBOX, "text")


async def items_is_no_number(redis: Redis) -> None:
    await redis.hset(META, ITEMS, "many")


async def outbox_at_its_last_id(redis: Redis) -> None:
    await redis.xadd(OUTBOX, {"e": ""}, id=LAST_ID)


@pytest.mark.parametrize(
    ("breaks", "strategy"),
    [
        *itertools.product(
            [
                *(item_of_another_type, outbox_of_another_type, items_is_no_number),
                *(field_is("price", text) for text in ("none", "nan", "1.5")),
                *(field_is("seq", text) for text in ("none", "nan", "1.5")),
                *(field_is("count", text) for text in ("none", "nan", "1.5")),
            ],
            Strategy,
        ),
        (outbox_at_its_last_id, Strategy.LUA),
        (field_is("seq", "-1"), Strategy.LUA),
        (field_is("seq", "9007199254740992"), Strategy.LUA),
    ],
)
async def test_a_bid_that_fails_on_broken_keys_writes_nothing(
    both: Ledgers, redis: Redis, breaks: Break, strategy: Strategy
) -> None:
    await breaks(redis)
    before = [await redis.dump(VASE), await redis.dump(OUTBOX)]

    with pytest.raises(RedisUnavailable):
        await both.of(strategy).place(bid(200))

    assert [await redis.dump(VASE), await redis.dump(OUTBOX)] == before
    assert sum(both.refusals.by_word.values()) == 1


@pytest.mark.parametrize("strategy", [Strategy.LUA])
async def test_a_first_bid_whose_item_may_not_be_counted_is_not_written(
    stores: Stores, redis: Redis, limited_user: str, strategy: Strategy
) -> None:
    await opened(stores.redis_url)
    async with ledgers(settings_for(stores, REDIS_URL=limited_user)) as made:
        await allow(redis, "-hincrby")

        with pytest.raises(RedisUnavailable):
            await made.of(strategy).place(bid(200))

        assert (await made.items.read("vase")).seq == 0
        assert await decoded_outbox(redis) == {}


@pytest.mark.parametrize("forbidden", ["-hset", "-xadd"])
@pytest.mark.parametrize("strategy", Strategy)
async def test_a_bid_that_may_be_written_in_part_only_is_not_written(
    stores: Stores, redis: Redis, limited_user: str, strategy: Strategy, forbidden: str
) -> None:
    await opened(stores.redis_url)
    async with ledgers(settings_for(stores, REDIS_URL=limited_user)) as made:
        await made.of(strategy).place(bid(100))
        await allow(redis, forbidden)

        with pytest.raises(RedisUnavailable):
            await made.of(strategy).place(bid(200))

        assert (await made.items.read("vase")).price_cents == 100
        assert len((await decoded_outbox(redis))["vase"]) == 1


async def test_an_item_with_a_broken_number_is_not_shown(both: Ledgers, redis: Redis) -> None:
    await field_is("price", "nan")(redis)

    with pytest.raises(RedisUnavailable):
        await both.items.read("vase")


async def test_bids_are_placed_once_after_script_flush(both: Ledgers, redis: Redis) -> None:
    await both.lua.place(bid(100))
    await redis.script_flush()

    outcomes = await asyncio.gather(*(both.lua.place(bid(cents)) for cents in (200, 300, 400)))

    assert outcomes == [Accepted(2), Accepted(3), Accepted(4)]
    assert rises_without_gap((await decoded_outbox(redis))["vase"])


async def test_state_and_event_are_in_the_items_partition(both: Ledgers, redis: Redis) -> None:
    await both.lua.place(bid(100, item="lamp"))
    await both.optimistic.place(bid(100, item="vase"))

    for item in ("lamp", "vase"):
        partition = partition_of(item, PARTITIONS)
        assert await redis.exists(item_key(partition, item), outbox_key(partition)) == 2


def _timestamp_script() -> str:
    """The script's own function, called with ARGV."""
    text = PLACE_BID.decode()
    start = text.index("local floor")
    end = text.index("\nend\n", text.index("local function timestamp")) + len("\nend\n")
    return text[start:end] + "return timestamp(ARGV)"


def _second(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[arg-type,misc]


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    seconds=st.one_of(
        st.integers(0, _second(2100, 12, 31)),
        st.builds(
            lambda year, edge: _second(year, 3, 1) + edge,
            st.integers(1970, 2100),
            st.integers(-2, 2),
        ),
        st.builds(
            lambda year, month, edge: max(0, _second(year, month, 1) + edge),
            *(st.integers(1970, 2100), st.integers(1, 12), st.integers(-2, 2)),
        ),
    ),
    microseconds=st.integers(0, 999_999),
)
async def test_the_script_formats_timestamps_as_python_does(
    redis: Redis, seconds: int, microseconds: int
) -> None:
    told = await redis.eval(_timestamp_script(), 0, str(seconds), str(microseconds))

    assert told.decode() == redis_timestamp(seconds, microseconds)


@pytest.mark.parametrize("strategy", Strategy)
async def test_an_events_timestamp_is_redis_time(
    both: Ledgers, redis: Redis, strategy: Strategy
) -> None:
    before = redis_timestamp(*await redis.time())

    await both.of(strategy).place(bid(100))

    events: dict[str, list[BidEvent]] = await decoded_outbox(redis)
    assert before <= events["vase"][0].timestamp <= redis_timestamp(*await redis.time())


async def test_an_item_that_comes_back_while_it_is_read_is_read_again(
    both: Ledgers, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hash was missing at the first look, and its filter no longer tells anything."""
    partition = partition_of("vase", PARTITIONS)
    await redis.hset(meta_key(partition), DEPARTURES, 1)

    async def comes_back(*arguments: Any) -> int | None:  # noqa: ANN401 - passed on
        await redis.hset(item_key(partition, "vase"), mapping={"price": 900, "seq": 7, "count": 7})
        return await number_of_items(*arguments)

    monkeypatch.setattr(ledger_module, "number_of_items", comes_back)

    assert (await both.items.read("vase")).seq == 7
