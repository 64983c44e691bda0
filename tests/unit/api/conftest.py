from collections.abc import AsyncIterator

import pytest

from tests.unit.api.gateways import RunningGateway, running_gateway
from tests.unit.api.http_client import RawClient, raw_client
from tests.unit.api.redis.fake_redis import FakeRedis, fake_redis


@pytest.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    async with running_gateway() as running:
        yield running


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[RawClient]:
    async with raw_client(gateway.port) as one:
        yield one


@pytest.fixture
async def redis() -> AsyncIterator[FakeRedis]:
    async with fake_redis() as running:
        yield running
