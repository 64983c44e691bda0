"""Fixtures that tests of the gateway share."""

from collections.abc import AsyncIterator, Awaitable
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from pkg.stores.redis_meta import Executes
from tests.integration.api.parts import event_stream, settings_for
from tests.integration.api.relay.recovering import Rig
from tests.integration.providers import Stores

LIMITED_USER = "limited"


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[Redis]:
    async with Redis.from_url(stores.redis_url) as client:
        yield client


@pytest.fixture
async def rig(stores: Stores, redis: Redis) -> AsyncIterator[Rig]:
    async with event_stream(settings_for(stores)) as (stream, nats):
        yield Rig(redis, stream, nats)


@pytest.fixture
async def limited_user(stores: Stores, redis: Redis) -> AsyncIterator[str]:
    """Redis' URL for a user of its own, whose permissions ``allow`` changes."""
    await allow(redis, "on", ">secret", "~*", "&*", "+@all")
    where = urlsplit(stores.redis_url)
    yield f"redis://{LIMITED_USER}:secret@{where.hostname}:{where.port}/0"
    await redis.acl_deluser(LIMITED_USER)


def allow(redis: Executes, *rules: str) -> Awaitable[object]:
    """Changes what the limited user may do, also on its open connections."""
    return redis.execute_command("ACL", "SETUSER", LIMITED_USER, *rules)
