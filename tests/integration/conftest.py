"""Fixtures: servers (per session) → stores (emptied per test) → services (our processes)."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import nats
import pytest
from redis.asyncio import Redis

from tests.integration.processes import Services
from tests.integration.providers import Servers, Stores, provide

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    with provide(request.config.getoption("--servers")) as running:
        yield running


@pytest.fixture
async def stores(servers: Servers) -> AsyncIterator[Stores]:
    """An empty Redis, a NATS without streams, and a new PostgreSQL database."""
    servers.start("redis")
    servers.start("nats")
    servers.start("postgres")
    async with Redis.from_url(servers.redis_url) as redis:
        await redis.flushall()
    await _delete_streams(servers.nats_url)
    database = f"test_{next(_numbers)}"
    await _as_administrator(servers, f"CREATE DATABASE {database}")

    yield Stores(
        redis_url=servers.redis_url,
        nats_url=servers.nats_url,
        nats_users=servers.nats_users,
        postgres_url=f"{servers.postgres_url.rpartition('/')[0]}/{database}",
    )

    servers.start("postgres")
    await _as_administrator(servers, f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture
async def services(stores: Stores, tmp_path: Path) -> AsyncIterator[Services]:
    """Starts our services on `stores` and stops them; a failed test shows their logs."""
    async with Services(environment_of=stores.environment_of, logs=tmp_path) as running:
        yield running


async def _delete_streams(nats_url: str) -> None:
    connection = await nats.connect(nats_url, connect_timeout=15)
    try:
        jetstream = connection.jetstream(timeout=15)
        for stream in await jetstream.streams_info():
            await jetstream.delete_stream(str(stream.config.name))
    finally:
        await connection.close()


async def _as_administrator(servers: Servers, statement: str) -> None:
    connection = await asyncpg.connect(servers.postgres_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
