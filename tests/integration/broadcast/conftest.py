from collections.abc import AsyncIterator, Iterator

import aiohttp
import nats
import pytest
from redis.asyncio import Redis

from tests.integration.broadcast.fake_api import FakeApi
from tests.integration.broadcast.raw import RawViewers
from tests.integration.broadcast.viewers import Viewers
from tests.integration.providers import Stores


@pytest.fixture
async def api(stores: Stores) -> AsyncIterator[FakeApi]:
    connection = await nats.connect(stores.nats_url)
    async with Redis.from_url(stores.redis_url) as redis:
        api = FakeApi(redis, connection)
        await api.open_redis()
        yield api
    await connection.close()


@pytest.fixture
async def viewers() -> AsyncIterator[Viewers]:
    async with aiohttp.ClientSession() as session:
        yield Viewers(session)


@pytest.fixture
def raw() -> Iterator[RawViewers]:
    viewers = RawViewers()
    yield viewers
    viewers.close()
