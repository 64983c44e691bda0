"""Optimistic rounds, command by command, against a scripted Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from pkg.api.bidding.bid_link import BidSession
from pkg.api.bidding.optimistic import OptimisticLedger, RoundLink
from pkg.api.bidding.prices import PriceCounts, SeenPrices
from pkg.api.bidding.refusals import Refusals
from pkg.api.errors import (
    ApiError,
    Busy,
    ItemsFull,
    OutboxFull,
    OutcomeUnknown,
    RedisRecovering,
    RedisUnavailable,
)
from pkg.api.redis.connection import RedisConnection
from pkg.api.redis.link import RedisLink
from pkg.auction.bid import Accepted, Bid, TooLow
from pkg.auction.ids import uuid7
from pkg.runtime.background import ended
from pkg.trials.waiting import until
from tests.unit.api.redis.fake_redis import FakeRedis

RUN_ID = b"this-server"
NIL = b"*-1\r\n"
WRITTEN = b"*2\r\n:5\r\n$3\r\n1-0\r\n"


class OptimisticRedis:
    """Answers the commands of rounds; ``execs`` are the answers to EXEC, the last one repeats."""

    def __init__(
        self, *, price: int = 0, depth: int = 0, items: int = 0, execs: tuple[bytes, ...] = ()
    ) -> None:
        self._price = b"$-1\r\n" if not price else b"$%d\r\n%d\r\n" % (len(str(price)), price)
        self._depth = depth
        self._items = items
        self._execs = list(execs or (WRITTEN,))
        self.unanswered: set[bytes] = set()
        self.run_id = RUN_ID
        self.queueing: bytes = b"+QUEUED\r\n"

    def __call__(self, command: list[bytes]) -> bytes | None:
        name = command[0]
        if name in self.unanswered:
            return None
        match name:
            case b"HMGET":
                return b"*6\r\n" + self._price + b"$-1\r\n" * 5
            case b"TIME":
                return b"*2\r\n$10\r\n1700000000\r\n$1\r\n7\r\n"
            case b"EVALSHA":  # find_item.lua
                return b"*2\r\n:0\r\n:%d\r\n" % self._items
            case b"HGET":
                return b"$%d\r\n%b\r\n" % (len(self.run_id), self.run_id)
            case b"XLEN":
                return b":%d\r\n" % self._depth
            case b"HSET" | b"XADD" | b"HINCRBY":
                return self.queueing
            case b"EXEC":
                return self._execs.pop(0) if len(self._execs) > 1 else self._execs[0]
        return b"+OK\r\n"


@asynccontextmanager
async def ledger_on(
    redis: FakeRedis,
    *,
    tries: int = 5,
    connections: int = 1,
    queue_max: int = 100,
    cached_prices: int = 100,
) -> AsyncIterator[OptimisticLedger]:
    async def prepare(connection: RedisConnection) -> BidSession:
        return BidSession(connection, RUN_ID.decode(), SeenPrices(cached_prices, PriceCounts()))

    async with AsyncExitStack() as stack:
        links = []
        for number in range(connections):
            link = RedisLink(
                f"redis://127.0.0.1:{redis.port}",
                name=f"rounds-{number}",
                timeout_s=0.4,
                queue_max=100,
                prepare=prepare,
            )
            task = asyncio.create_task(link.run())
            stack.push_async_callback(ended, task)
            links.append(RoundLink(link, queue_max=queue_max))
        ledger = OptimisticLedger(
            links,
            partitions=4,
            outbox_max_entries=10,
            items_max=10,
            tries=tries,
            refusals=Refusals(),
        )
        await until(lambda: _up(ledger), within_s=5)
        redis.received.clear()
        yield ledger


def bid(cents: int = 20000, item: str = "vase") -> Bid:
    return Bid(item, "ann", cents, event_id=uuid7(), bid_id=uuid7())


def names(redis: FakeRedis) -> list[str]:
    return [command[0].decode() for command in redis.received]


async def test_a_round_watches_reads_and_writes_bid_and_event_in_one_transaction(
    redis: FakeRedis,
) -> None:
    redis.answer = OptimisticRedis()
    async with ledger_on(redis) as ledger:
        outcome = await ledger.place(bid())

    assert outcome == Accepted(seq=1)
    assert names(redis) == [
        *("WATCH", "HMGET", "TIME", "XLEN", "HGET"),
        "EVALSHA",
        *("MULTI", "HSET", "XADD", "HINCRBY", "EXEC"),
    ]


async def test_a_lost_round_is_retried(redis: FakeRedis) -> None:
    redis.answer = OptimisticRedis(execs=(NIL, NIL, WRITTEN))
    async with ledger_on(redis) as ledger:
        outcome = await ledger.place(bid())

    assert outcome == Accepted(seq=1)
    assert names(redis).count("EXEC") == 3
    assert (ledger.counts.retries, ledger.counts.exhausted) == (2, 0)


async def test_a_bid_that_loses_every_round_is_busy(redis: FakeRedis) -> None:
    redis.answer = OptimisticRedis(execs=(NIL,))
    async with ledger_on(redis, tries=4) as ledger:
        with pytest.raises(Busy):
            await ledger.place(bid())

    assert names(redis).count("EXEC") == 4
    assert (ledger.counts.retries, ledger.counts.exhausted) == (3, 1)


async def test_a_bid_that_is_too_low_writes_nothing_and_unwatches(redis: FakeRedis) -> None:
    redis.answer = OptimisticRedis(price=20000)
    async with ledger_on(redis) as ledger:
        outcome = await ledger.place(bid(20000))
        await until(lambda: names(redis)[-1] == "UNWATCH", within_s=5)

    assert outcome == TooLow(20000)
    assert "MULTI" not in names(redis)


async def test_a_cached_price_refuses_without_asking_redis(redis: FakeRedis) -> None:
    redis.answer = OptimisticRedis()
    async with ledger_on(redis) as ledger:
        await ledger.place(bid(20000))
        redis.received.clear()

        assert await ledger.place(bid(20000)) == TooLow(20000)

    assert names(redis) == []


async def test_a_full_outbox_refuses_and_unwatches(redis: FakeRedis) -> None:
    redis.answer = OptimisticRedis(depth=10)
    async with ledger_on(redis) as ledger:
        with pytest.raises(OutboxFull):
            await ledger.place(bid())
        await until(lambda: names(redis)[-1] == "UNWATCH", within_s=5)

    assert "MULTI" not in names(redis)


async def test_a_new_item_too_many_is_refused_and_unwatches(redis: FakeRedis) -> None:
    redis.answer = OptimisticRedis(items=10)
    async with ledger_on(redis) as ledger:
        with pytest.raises(ItemsFull):
            await ledger.place(bid())
        await until(lambda: names(redis)[-1] == "UNWATCH", within_s=5)

    assert "MULTI" not in names(redis)


@pytest.mark.parametrize("connections", [1, 3])
async def test_rounds_never_interleave_on_a_connection(redis: FakeRedis, connections: int) -> None:
    """The first EXEC on a connection clears every WATCH of it."""
    script = OptimisticRedis(execs=(NIL, WRITTEN))
    by_connection: dict[int, list[bytes]] = {}

    def answer(command: list[bytes]) -> bytes | None:
        task = asyncio.current_task()
        by_connection.setdefault(id(task), []).append(command[0])
        return script(command)

    redis.answer, redis.delay_s = answer, 0.002
    async with ledger_on(redis, connections=connections, cached_prices=0) as ledger:
        by_connection.clear()
        await asyncio.gather(
            *(ledger.place(bid(20000 + n, f"item-{n % 4}")) for n in range(20)),
        )

    for commands in by_connection.values():
        open_watches = 0
        for command in commands:
            if command == b"WATCH":
                assert not open_watches, commands
                open_watches += 1
            elif command in {b"EXEC", b"UNWATCH"}:
                open_watches = 0


async def test_an_items_rounds_all_run_on_the_same_connection(redis: FakeRedis) -> None:
    script = OptimisticRedis()
    used: dict[bytes, set[int]] = {}

    def answer(command: list[bytes]) -> bytes | None:
        if command[0] == b"WATCH":
            used.setdefault(command[1], set()).add(id(asyncio.current_task()))
        return script(command)

    redis.answer = answer
    async with ledger_on(redis, connections=4, cached_prices=0) as ledger:
        for number in range(40):
            await ledger.place(bid(20000 + number, f"item-{number % 10}"))

    assert all(len(connections) == 1 for connections in used.values())
    assert len(set.union(*used.values())) > 1


async def test_rounds_beyond_the_queue_are_busy_at_once(redis: FakeRedis) -> None:
    script = OptimisticRedis()
    script.unanswered.add(b"EXEC")
    redis.answer = script
    async with ledger_on(redis, queue_max=3) as ledger:
        results = await asyncio.gather(
            *(ledger.place(bid(20000 + n)) for n in range(10)), return_exceptions=True
        )

    # One has the connection and three wait; once it is lost, they find none.
    kinds = [type(result) for result in results]
    assert kinds.count(Busy) == 6
    assert kinds.count(OutcomeUnknown) == 1
    assert kinds.count(RedisUnavailable) == 3


@pytest.mark.parametrize(
    ("unanswered", "error"),
    [(b"WATCH", RedisUnavailable), (b"XLEN", RedisUnavailable), (b"EXEC", OutcomeUnknown)],
)
async def test_a_lost_reply_leaves_the_outcome_unknown_only_if_something_may_be_written(
    redis: FakeRedis, unanswered: bytes, error: type[ApiError]
) -> None:
    script = OptimisticRedis()
    script.unanswered.add(unanswered)
    redis.answer = script
    async with ledger_on(redis) as ledger:
        with pytest.raises(ApiError) as raised:
            await ledger.place(bid())

    assert type(raised.value) is error
    assert names(redis).count("EXEC") <= 1


async def test_a_write_refused_while_queueing_wrote_nothing(redis: FakeRedis) -> None:
    script = OptimisticRedis(execs=(b"-EXECABORT discarded\r\n",))
    script.queueing = b"-OOM command not allowed\r\n"
    redis.answer = script
    async with ledger_on(redis) as ledger:
        with pytest.raises(RedisUnavailable):
            await ledger.place(bid())


async def test_a_write_that_fails_inside_the_transaction_leaves_the_outcome_unknown(
    redis: FakeRedis,
) -> None:
    redis.answer = OptimisticRedis(execs=(b"*2\r\n:5\r\n-WRONGTYPE\r\n",))
    async with ledger_on(redis) as ledger:
        with pytest.raises(OutcomeUnknown):
            await ledger.place(bid())


async def test_a_round_on_a_redis_that_forgot_writes_nothing_and_reconnects(
    redis: FakeRedis,
) -> None:
    script = OptimisticRedis()
    script.run_id = b"another-server"
    redis.answer = script
    async with ledger_on(redis) as ledger:
        with pytest.raises(RedisRecovering):
            await ledger.place(bid())
        await until(lambda: redis.connections == 2, within_s=5)

    assert "MULTI" not in names(redis)


@pytest.mark.parametrize("after", ["WATCH", "MULTI"])
async def test_a_cancelled_round_closes_its_connection(redis: FakeRedis, after: str) -> None:
    script = OptimisticRedis()
    script.unanswered.add(b"XLEN" if after == "WATCH" else b"EXEC")
    redis.answer = script
    async with ledger_on(redis) as ledger:
        cancelled = asyncio.create_task(ledger.place(bid()))
        await until(lambda: after in names(redis), within_s=5)

        cancelled.cancel()

        with suppress(asyncio.CancelledError):
            await cancelled
        script.unanswered.clear()
        connections = redis.connections
        await until(lambda: redis.connections > connections - 1 and _up(ledger), within_s=5)
        assert await ledger.place(bid(30000)) == Accepted(seq=1)
        assert redis.connections == 2


def _up(ledger: OptimisticLedger) -> bool:
    return all(each.link.probe() is None for each in ledger._links)
