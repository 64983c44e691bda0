"""Fixtures that tests of the gateway share."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.integration.api.parts import event_stream, settings_for
from tests.integration.api.relay.recovering import Rig
from tests.integration.providers import Stores


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[Redis]:
    async with Redis.from_url(stores.redis_url) as client:
        yield client


@pytest.fixture
async def rig(stores: Stores, redis: Redis) -> AsyncIterator[Rig]:
    async with event_stream(settings_for(stores)) as (stream, nats):
        yield Rig(redis, stream, nats)
