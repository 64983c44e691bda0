"""Fixtures that tests of the gateway share."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.integration.api.parts import event_stream, settings_for
from tests.integration.api.relay.recovering import House
from tests.integration.providers import Stores


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[Redis]:
    async with Redis.from_url(stores.redis_url) as client:
        yield client


@pytest.fixture
async def house(stores: Stores, redis: Redis) -> AsyncIterator[House]:
    async with event_stream(settings_for(stores)) as (stream, nats):
        yield House(redis, stream, nats)
