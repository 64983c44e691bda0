from collections.abc import AsyncIterator, Iterator

import aiohttp
import nats
import pytest
from redis.asyncio import Redis

from tests.integration.broadcast.house import House
from tests.integration.broadcast.raw import RawViewers
from tests.integration.broadcast.seats import Seats
from tests.integration.providers import Stores


@pytest.fixture
async def house(stores: Stores) -> AsyncIterator[House]:
    connection = await nats.connect(stores.nats_url)
    async with Redis.from_url(stores.redis_url) as redis:
        house = House(redis, connection)
        await house.open()
        yield house
    await connection.close()


@pytest.fixture
async def seats() -> AsyncIterator[Seats]:
    async with aiohttp.ClientSession() as session:
        yield Seats(session)


@pytest.fixture
def raw() -> Iterator[RawViewers]:
    viewers = RawViewers()
    yield viewers
    viewers.close()
