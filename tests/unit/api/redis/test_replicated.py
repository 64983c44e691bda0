"""Replies wait until enough replicas have the writes before them."""

import asyncio
from collections.abc import AsyncIterator

import hiredis
import pytest

from pkg.api.errors import OutcomeUnknown
from pkg.api.redis.connection import pack
from pkg.api.redis.replicated import ReplicatedConnection
from pkg.trials.waiting import until
from tests.unit.api.redis.fake_redis import FakeRedis, echo, failure, fake_redis


class Replicated:
    """Answers WAIT with as many replicas as the test says; None: not at all."""

    def __init__(self) -> None:
        self.replicas: int | None = 1

    def __call__(self, command: list[bytes]) -> bytes | None:
        if command[0] == b"WAIT":
            return None if self.replicas is None else b":%d\r\n" % self.replicas
        if command[0] == b"FAIL":
            return b"-ERR no\r\n"
        return echo(command)


@pytest.fixture
async def redis() -> AsyncIterator[FakeRedis]:
    async with fake_redis() as running:
        running.answer = Replicated()
        yield running


async def connect(redis: FakeRedis, *, timeout_s: float = 2.0) -> ReplicatedConnection:
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: ReplicatedConnection(
            min_replicas=1,
            wait_ms=500,
            timeout_s=timeout_s,
            queue_max=1000,
            on_lost=lambda: None,
        ),
        "127.0.0.1",
        redis.port,
    )
    return connection


async def test_a_flush_ends_with_one_wait_and_each_command_gets_its_reply(
    redis: FakeRedis,
) -> None:
    connection = await connect(redis)

    replies = await asyncio.gather(
        *(connection.submit(pack("ECHO", str(number))) for number in range(20))
    )

    assert replies == [str(number).encode() for number in range(20)]
    names = [command[0] for command in redis.received]
    assert names == [b"ECHO"] * 20 + [b"WAIT"]
    assert redis.received[-1] == [b"WAIT", b"1", b"500"]
    connection.close()


async def test_replies_come_in_order_over_many_flushes_and_cancellations(
    redis: FakeRedis,
) -> None:
    redis.delay_s, redis.cut_into = 0.002, 5
    connection = await connect(redis, timeout_s=20)

    async def later(number: int) -> bytes | None:
        await asyncio.sleep(number * 0.0007)
        future = connection.submit(pack("ECHO", str(number)))
        if number % 5 == 0:
            future.cancel()
            return None
        reply: bytes = await future
        return reply

    replies = await asyncio.gather(*(later(number) for number in range(150)))

    assert replies == [None if n % 5 == 0 else str(n).encode() for n in range(150)]
    connection.close()


async def test_too_few_replicas_leave_the_outcome_unknown(redis: FakeRedis) -> None:
    assert isinstance(redis.answer, Replicated)
    redis.answer.replicas = 0
    connection = await connect(redis)
    one, *_ = both = [
        connection.submit(pack("ECHO", "a")),
        connection.submit_all(pack("ECHO", "b"), pack("ECHO", "c")),
    ]

    assert [type(await failure(each)) for each in both] == [OutcomeUnknown] * 2
    assert one.done()
    redis.answer.replicas = 1
    assert await connection.submit(pack("ECHO", "d")) == b"d"
    connection.close()


async def test_replies_are_held_back_until_the_replicas_have_the_write(redis: FakeRedis) -> None:
    assert isinstance(redis.answer, Replicated)
    redis.answer.replicas = None
    connection = await connect(redis, timeout_s=0.4)
    waiting = connection.submit(pack("ECHO", "a"))
    await until(lambda: len(redis.received) == 2, within_s=5)

    assert not waiting.done()
    assert isinstance(await failure(waiting), OutcomeUnknown)


async def test_a_group_of_commands_gets_all_replies_errors_included(
    redis: FakeRedis,
) -> None:
    connection = await connect(redis)

    replies = await connection.submit_all(pack("ECHO", "a"), pack("FAIL"), pack("ECHO", "c"))

    assert (replies[0], replies[2]) == (b"a", b"c")
    assert isinstance(replies[1], hiredis.ReplyError)
    connection.close()


async def test_an_error_reply_is_raised_as_such(redis: FakeRedis) -> None:
    connection = await connect(redis)

    error = await failure(connection.submit(pack("FAIL")))

    assert isinstance(error, hiredis.ReplyError)
    connection.close()


async def test_replies_held_back_when_the_connection_ends_are_unknown(redis: FakeRedis) -> None:
    """They were written here, but no replica has confirmed them."""
    assert isinstance(redis.answer, Replicated)
    redis.answer.replicas = None
    connection = await connect(redis)
    held = [
        connection.submit(pack("ECHO", "a")),
        connection.submit_all(pack("ECHO", "b"), pack("FAIL")),
    ]
    await until(lambda: len(redis.received) == 4, within_s=5)

    redis.drop()

    errors = [type(await failure(each)) for each in held]
    assert errors == [OutcomeUnknown] * 2
