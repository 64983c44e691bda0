"""The link keeps a connection open and hands it out only once it is prepared."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from pkg.api.errors import RedisUnavailable
from pkg.api.redis.connection import RedisConnection, pack
from pkg.api.redis.link import BACKOFF_CAP_S, FIRST_BACKOFF_S, RedisLink
from pkg.runtime.background import ended
from pkg.stores.redis_meta import PartitionsDifferError
from pkg.trials.waiting import until
from tests.unit.api.redis.fake_redis import FakeRedis


async def as_it_is(connection: RedisConnection) -> RedisConnection:
    return connection


@asynccontextmanager
async def running_link(
    target: str, *, prepare: Callable[[RedisConnection], Awaitable[RedisConnection]] = as_it_is
) -> AsyncIterator[RedisLink[RedisConnection]]:
    link = RedisLink(target, name="test", timeout_s=0.5, queue_max=100, prepare=prepare)
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        await ended(task)


def url(redis: FakeRedis, credentials: str = "", database: str = "") -> str:
    return f"redis://{credentials}127.0.0.1:{redis.port}{database}"


async def test_a_new_link_reports_that_it_is_connecting(redis: FakeRedis) -> None:
    async with running_link(url(redis)) as link:
        assert link.probe() == "connecting"
        with pytest.raises(RedisUnavailable):
            link.current()


async def test_password_and_database_are_sent_first(redis: FakeRedis) -> None:
    async with running_link(url(redis, ":p%40ss%2F@", "/3")) as link:
        await until(lambda: link.probe() is None, within_s=5)

    assert redis.received[:2] == [[b"AUTH", b"p@ss/"], [b"SELECT", b"3"]]


async def test_an_acl_user_is_sent_with_its_password(redis: FakeRedis) -> None:
    async with running_link(url(redis, "bidder:s3cret@")) as link:
        await until(lambda: link.probe() is None, within_s=5)

    assert redis.received[0] == [b"AUTH", b"bidder", b"s3cret"]


async def test_a_refused_password_is_retried_without_leaking_connections(
    redis: FakeRedis,
) -> None:
    redis.answer = lambda command: b"-WRONGPASS no\r\n" if command[0] == b"AUTH" else b"+OK\r\n"
    async with running_link(url(redis, ":bad@")) as link:
        await until(lambda: redis.connections >= 4, within_s=5)

        assert link.probe() == "down"
        open_now = [each for each in redis._writers if not each.transport.is_closing()]
        await until(lambda: len([w for w in redis._writers if not w.is_closing()]) <= 1, within_s=5)
        assert len(open_now) <= 2


async def test_a_connection_is_not_used_before_it_is_prepared(redis: FakeRedis) -> None:
    go_on = asyncio.Event()

    async def prepare(connection: RedisConnection) -> RedisConnection:
        await go_on.wait()
        return connection

    async with running_link(url(redis), prepare=prepare) as link:
        await until(lambda: redis.connections == 1, within_s=5)
        with pytest.raises(RedisUnavailable):
            link.current()

        go_on.set()

        await until(lambda: link.probe() is None, within_s=5)
        assert await link.current().submit(pack("ECHO", "a")) == b"a"


async def test_an_unfit_redis_is_refused_until_it_is_fit(redis: FakeRedis) -> None:
    right = False

    async def prepare(connection: RedisConnection) -> RedisConnection:
        if not right:
            raise PartitionsDifferError("this Redis was filled with PARTITIONS=8")
        return connection

    with capture_logs() as logs:
        async with running_link(url(redis), prepare=prepare) as link:
            await until(lambda: redis.connections >= 3, within_s=5)
            refused = link.probe()
            right = True
            await until(lambda: link.probe() is None, within_s=5)

    assert refused == "refused"
    said = [line["why"] for line in logs if "why" in line]
    assert said == ["this Redis was filled with PARTITIONS=8"]


async def test_a_change_of_state_is_logged_once_not_at_every_attempt(redis: FakeRedis) -> None:
    with capture_logs() as logs:
        async with running_link(url(redis)) as link:
            await until(lambda: link.probe() is None, within_s=5)
            redis.answer = lambda _: b"-LOADING\r\n"
            redis.drop()
            await until(lambda: redis.connections >= 4, within_s=5)
            redis.answer = lambda _: b"+OK\r\n"
            await until(lambda: link.probe() is None, within_s=5)

    levels = [line["log_level"] for line in logs]
    assert levels == ["info", "warning", "info"]


async def test_a_lost_connection_is_replaced(
    redis: FakeRedis,
) -> None:
    async with running_link(url(redis)) as link:
        await until(lambda: link.probe() is None, within_s=5)
        first = link.current()

        redis.drop()

        await until(lambda: link.connects == 2, within_s=5)
        assert link.current() is not first


async def test_retries_slow_down_and_are_fast_again_after_a_success(redis: FakeRedis) -> None:
    redis.answer = lambda _: b"-LOADING\r\n"
    async with running_link(url(redis)) as link:
        await until(lambda: redis.connections >= 6, within_s=10)
        slow = redis.connected_at
        redis.answer = lambda _: b"+OK\r\n"
        await until(lambda: link.probe() is None, within_s=10)
        back_s = []
        for connects in range(2, 5):
            lost_at = time.monotonic()
            redis.drop()
            await until(partial(_has_connected, link, connects), within_s=5)
            back_s.append(redis.connected_at[-1] - lost_at)

    pauses = [later - earlier for earlier, later in pairwise(slow[:6])]
    caps = [min(FIRST_BACKOFF_S * 2**number, BACKOFF_CAP_S) for number in range(len(pauses))]
    assert all(cap / 2 <= pause for pause, cap in zip(pauses, caps, strict=True))
    # The machine may stall once.
    assert sum(pause >= cap + 1 for pause, cap in zip(pauses, caps, strict=True)) <= 1
    assert min(back_s) < BACKOFF_CAP_S / 2  # the minimum if it had stayed slow


def _has_connected(link: RedisLink[RedisConnection], times: int) -> bool:
    return link.connects == times


async def test_a_redis_that_is_away_is_retried() -> None:
    async with running_link("redis://127.0.0.1:1") as link:
        await until(lambda: link.probe() == "down", within_s=5)


async def test_tls_on_a_plain_server_is_refused_cleanly(redis: FakeRedis) -> None:
    async with running_link(f"rediss://127.0.0.1:{redis.port}") as link:
        await until(lambda: link.probe() == "down", within_s=5)
    gc.collect()  # a socket left open would be a warning, and so a failure


async def test_a_closed_link_hands_nothing_out_and_leaves_nothing_open(redis: FakeRedis) -> None:
    async with running_link(url(redis)) as link:
        await until(lambda: link.probe() is None, within_s=5)

    assert link.probe() == "closed"
    with pytest.raises(RedisUnavailable):
        link.current()
    await until(lambda: all(each.is_closing() for each in redis._writers), within_s=5)
