"""Clients whose connection is lost between two uses or during one."""

import asyncio

import asyncpg
import pytest
import uvloop
from redis.exceptions import RedisError

from pkg.archival.store import Connection, Store
from pkg.stores.redis_client import redis_client
from pkg.trials.faults.proxy import Proxy
from pkg.trials.waiting import until
from tests.integration.providers import Servers, Stores


def test_reset_connection_raises_a_redis_error_under_uvloop(
    servers: Servers,
) -> None:
    port = int(servers.redis_url.rpartition(":")[2].partition("/")[0])

    async def lose_connection_and_ping() -> None:
        async with (
            Proxy(port) as proxy,
            redis_client(f"redis://127.0.0.1:{proxy.port}/0", timeout_s=2, name="test") as client,
        ):
            await client.ping()
            proxy.cut()
            (connection,) = client.connection_pool._available_connections
            reader = connection._reader
            assert reader is not None
            await until(reader.exception, within_s=5)

            with pytest.raises(RedisError):
                await client.ping()

            assert await client.ping()

    servers.start("redis")
    uvloop.run(lose_connection_and_ping())


async def test_statement_is_repeated_on_a_new_session_if_its_session_ends(
    stores: Stores,
) -> None:
    async def nothing_to_prepare(_: Connection) -> None:
        return

    sessions = set()

    async def work(connection: Connection) -> str:
        sessions.add(connection)
        if len(sessions) == 1:  # which error asyncpg raises depends on a race
            raise asyncpg.InternalClientError("cannot switch to state 15")
        return "done"

    store = Store(
        stores.postgres_url,
        statement_timeout_s=5,
        prepare=nothing_to_prepare,
        stop=asyncio.Event(),
    )

    done = await store.run(work)

    await store.close()
    assert done == "done"
    assert len(sessions) == 2
