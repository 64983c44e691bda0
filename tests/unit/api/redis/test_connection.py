"""The pipelined connection: order, bounds, and what each caller is told when it ends."""

import asyncio
import random

import hiredis
import pytest

from pkg.api.errors import Busy, OutcomeUnknown, RedisUnavailable
from pkg.api.redis.connection import RedisConnection, pack
from pkg.trials.waiting import until
from tests.unit.api.redis.fake_redis import FakeRedis, Losses, connect, failure


async def _echo(connection: RedisConnection, word: str, lifetime_s: float | None) -> str | None:
    """The echo, or None if the caller timed out first."""
    try:
        async with asyncio.timeout(lifetime_s):
            reply: bytes = await connection.submit(pack("ECHO", word))
    except TimeoutError:
        return None
    return reply.decode()


@pytest.mark.parametrize("seed", range(3))
async def test_each_command_gets_its_own_reply_under_delays_cuts_and_cancellations(
    redis: FakeRedis, seed: int
) -> None:
    chance = random.Random(seed)
    redis.cut_into, redis.delay_s = 7, 0.002
    connection = await connect(redis.port, timeout_s=20)
    words = [f"{number}-{'x' * chance.randrange(40)}" for number in range(400)]

    async def later(word: str) -> str | None:
        await asyncio.sleep(chance.uniform(0, 0.2))
        return await _echo(connection, word, chance.choice([None, None, 0.01]))

    echoes = await asyncio.gather(*(later(word) for word in words))

    answered = [(word, echo) for word, echo in zip(words, echoes, strict=True) if echo is not None]
    assert all(word == echo for word, echo in answered)
    assert len(answered) >= 200
    assert len(answered) < 400
    connection.close()


async def test_a_cancelled_command_is_still_sent_and_its_reply_dropped(redis: FakeRedis) -> None:
    connection = await connect(redis.port)
    first, second, third = (connection.submit(pack("ECHO", word)) for word in "abc")

    second.cancel()

    assert (await first, await third) == (b"a", b"c")
    assert [command[1] for command in redis.received] == [b"a", b"b", b"c"]
    connection.close()


async def test_commands_of_one_tick_are_one_write(redis: FakeRedis) -> None:
    writes: list[bytes] = []
    connection = await connect(redis.port)
    transport = connection._transport
    assert transport is not None
    connection._transport = _Recording(transport, writes)  # type: ignore[assignment]

    await asyncio.gather(*(connection.submit(pack("ECHO", str(n))) for n in range(50)))

    assert len(writes) == 1
    connection.close()


class _Recording:
    """A transport that records writes and passes them on."""

    def __init__(self, transport: asyncio.Transport, writes: list[bytes]) -> None:
        self._transport = transport
        self._writes = writes

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        self._transport.write(data)

    def abort(self) -> None:
        self._transport.abort()


async def test_a_full_queue_is_busy_until_replies_arrive(
    redis: FakeRedis,
) -> None:
    connection = await connect(redis.port, queue_max=3)
    taken = [connection.submit(pack("ECHO", word)) for word in "abc"]

    with pytest.raises(Busy):
        connection.submit(pack("ECHO", "d"))

    assert [await each for each in taken] == [b"a", b"b", b"c"]
    assert await connection.submit(pack("ECHO", "e")) == b"e"
    assert [command[1] for command in redis.received] == [b"a", b"b", b"c", b"e"]
    connection.close()


async def test_an_error_reply_fails_its_own_command_only(redis: FakeRedis) -> None:
    redis.answer = lambda command: b"-ERR no\r\n" if command[1] == b"b" else b"+%b\r\n" % command[1]
    connection = await connect(redis.port)

    replies = await asyncio.gather(
        *(connection.submit(pack("ECHO", word)) for word in "abc"), return_exceptions=True
    )

    assert (replies[0], replies[2]) == (b"a", b"c")
    assert isinstance(replies[1], hiredis.ReplyError)
    connection.close()


async def test_a_time_out_closes_the_connection_with_outcomes_unknown(
    redis: FakeRedis,
) -> None:
    redis.answer = lambda command: None if command[1] == b"b" else b"+%b\r\n" % command[1]
    losses = Losses()
    connection = await connect(redis.port, timeout_s=0.2, on_lost=losses)
    sent = [connection.submit(pack("ECHO", word)) for word in "ab"]
    assert await sent[0] == b"a"

    error = await failure(sent[1])

    assert isinstance(error, OutcomeUnknown)
    assert losses.count == 1
    with pytest.raises(RedisUnavailable):
        connection.submit(pack("ECHO", "c"))


async def test_a_lost_reply_does_not_shift_the_others_to_the_wrong_callers(
    redis: FakeRedis,
) -> None:
    redis.answer = lambda command: None if command[1] == b"b" else b"+%b\r\n" % command[1]
    connection = await connect(redis.port, timeout_s=0.3)

    replies = await asyncio.gather(
        *(connection.submit(pack("ECHO", word)) for word in "ab"), return_exceptions=True
    )

    assert replies[0] == b"a"
    assert isinstance(replies[1], OutcomeUnknown)


async def test_commands_not_yet_sent_fail_as_unavailable_not_as_unknown(
    redis: FakeRedis,
) -> None:
    redis.reads.clear()
    connection = await connect(redis.port, timeout_s=30)
    big = "x" * 4_000_000
    sent = connection.submit(pack("ECHO", big))
    await until(lambda: connection._paused, within_s=5)
    unsent = [connection.submit(pack("ECHO", word)) for word in "ab"]

    connection.close()

    assert isinstance(await failure(sent), OutcomeUnknown)
    assert [type(await failure(each)) for each in unsent] == [RedisUnavailable] * 2


async def test_a_server_that_reads_slowly_gets_everything_once_and_in_order(
    redis: FakeRedis,
) -> None:
    redis.reads.clear()
    connection = await connect(redis.port, timeout_s=30)
    first = connection.submit(pack("ECHO", "x" * 4_000_000))
    await until(lambda: connection._paused, within_s=5)
    words = [str(number) for number in range(100)]
    held_back = [connection.submit(pack("ECHO", word)) for word in words]

    redis.reads.set()

    assert len(await first) == 4_000_000
    assert [(await each).decode() for each in held_back] == words
    assert [command[1].decode() for command in redis.received[1:]] == words
    connection.close()


async def test_nothing_is_written_while_the_socket_is_full(redis: FakeRedis) -> None:
    redis.reads.clear()
    connection = await connect(redis.port, timeout_s=30)
    sent = connection.submit(pack("ECHO", "x" * 4_000_000))
    await until(lambda: connection._paused, within_s=5)
    transport = connection._transport
    assert transport is not None
    buffered = transport.get_write_buffer_size()

    more = [connection.submit(pack("ECHO", "y" * 1000)) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert transport.get_write_buffer_size() <= buffered
    connection.close()
    await asyncio.gather(sent, *more, return_exceptions=True)


@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\xfe", b"?\r\n"]
)
async def test_garbage_from_the_server_closes_the_connection_with_outcomes_unknown(
    redis: FakeRedis, garbage: bytes
) -> None:
    redis.answer = lambda _: garbage
    losses = Losses()
    connection = await connect(redis.port, on_lost=losses)

    errors = [
        await failure(each) for each in [connection.submit(pack("ECHO", word)) for word in "ab"]
    ]

    assert [type(error) for error in errors] == [OutcomeUnknown] * 2
    assert losses.count == 1


async def test_an_unexpected_reply_closes_the_connection(
    redis: FakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    losses = Losses()
    connection = await connect(redis.port, on_lost=losses)
    await connection.submit(pack("ECHO", "a"))

    redis.say(b"+SURPRISE\r\n")

    await until(lambda: losses.count == 1, within_s=5)
    with pytest.raises(RedisUnavailable):
        connection.submit(pack("ECHO", "b"))
    assert not caplog.records


async def test_a_lost_server_is_reported_once_and_fails_all_commands_in_flight(
    redis: FakeRedis,
) -> None:
    redis.answer = lambda _: None
    losses = Losses()
    connection = await connect(redis.port, on_lost=losses)
    waiting = [connection.submit(pack("ECHO", word)) for word in "ab"]
    await until(lambda: len(redis.received) == 2, within_s=5)

    redis.drop()

    assert [type(await failure(each)) for each in waiting] == [OutcomeUnknown] * 2
    assert (losses.count, connection.waiting) == (1, 0)
    connection.close()
    assert losses.count == 1
