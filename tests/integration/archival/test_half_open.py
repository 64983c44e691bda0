"""Connections to PostgreSQL that are dead although they look open."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from pkg.archival.half_open import IDLE_S, is_busy
from pkg.archival.store import Connection
from pkg.trials.faults.proxy import Proxy
from pkg.trials.waiting import until
from tests.integration.archival.auction import Chain, Item, publish
from tests.integration.archival.conftest import Workers
from tests.integration.archival.looking import everything_acknowledged, holds
from tests.integration.providers import Stores

_LASTS = """
SELECT count(*) FROM pg_stat_activity
WHERE pid = $1 AND wait_event_type = 'Lock'
AND state_change < clock_timestamp() - make_interval(secs => $2)
"""


@pytest.fixture
async def session(stores: Stores) -> AsyncIterator[Connection]:
    """As a worker's session, which will not be heard of again."""
    connection = await asyncpg.connect(
        stores.postgres_url, server_settings={"application_name": "archival-worker"}
    )
    yield connection
    connection.terminate()


async def test_archive_goes_on_soon_after_a_half_open_connection(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    """Not only after the statement time-out of 30 s."""
    postgres = urlsplit(stores.postgres_url)
    chain, item = Chain(), Item("lamp")
    async with Proxy(postgres.port or 0) as proxy:
        through = f"{postgres.hostname}:{proxy.port}"
        url = stores.postgres_url.replace(f"{postgres.hostname}:{postgres.port}", through)
        assert str(proxy.port) in url
        number = workers.start(postgres_url=url)
        await publish(stores.nats_url, chain.batch(item.bids(1)))
        await until(lambda: holds(archive, 1), within_s=10)

        proxy.half_open()
        await publish(stores.nats_url, chain.batch(item.bids(1)))
        before = proxy.accepted
        await until(lambda: proxy.accepted > before, within_s=10, what="the server is asked")
        proxy.restore()

        await until(lambda: holds(archive, 2), within_s=8)
        await until(lambda: everything_acknowledged(stores.nats_url), within_s=8)
        await workers.stop(number)


async def test_session_that_the_server_works_for_is_left_alone(
    stores: Stores, archive: Connection, session: Connection
) -> None:
    await archive.execute("BEGIN; LOCK TABLE bids")
    pid = session.get_server_pid()
    waiting = asyncio.create_task(session.execute("SELECT FROM bids"))
    await until(lambda: archive.fetchval(_LASTS, pid, 2 * IDLE_S), within_s=10)

    busy = await is_busy(stores.postgres_url, pid)

    await archive.execute("COMMIT")
    assert busy
    await waiting


async def test_session_whose_client_hears_nothing_is_ended_with_its_locks(
    stores: Stores, archive: Connection, session: Connection
) -> None:
    await session.execute("BEGIN; LOCK TABLE bids")
    pid = session.get_server_pid()
    assert await is_busy(stores.postgres_url, pid)

    async def ended() -> bool:
        return await is_busy(stores.postgres_url, pid) is False

    await until(ended, within_s=IDLE_S + 5)

    assert await archive.fetchval("SELECT count(*) FROM bids") == 0


async def test_server_that_cannot_be_asked_leaves_it_open(stores: Stores) -> None:
    postgres = urlsplit(stores.postgres_url)
    async with Proxy(1) as nothing:
        url = stores.postgres_url.replace(str(postgres.port), str(nothing.port))

        assert await is_busy(url, 1) is None
