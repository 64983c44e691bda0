"""The stack's stores. The bench's compose override publishes their ports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import nats
from nats.aio.client import Client as NatsClient
from redis.asyncio import Redis

from pkg.auction.subjects import STREAM
from pkg.trials.faults.containers.container import Container

_USER = "bidding"  # also PostgreSQL's database; as in compose.yaml


@dataclass(frozen=True, slots=True)
class Address:
    """A store's published port and password."""

    port: int
    password: str


@dataclass(frozen=True, slots=True)
class ContainerStores:
    redis: Container
    nats: Container
    postgres: Container
    addresses: dict[str, Address]
    """By store name."""

    @property
    def all(self) -> tuple[Container, Container, Container]:
        return self.redis, self.nats, self.postgres

    async def renew(self) -> None:
        """Starts, connects and empties them. No service may be using them."""
        await asyncio.gather(*(store.start() for store in self.all))
        async with self.redis_client() as redis:
            await redis.flushall()
        async with self.nats_client() as client:
            jetstream = client.jetstream()
            for stream in await jetstream.streams_info():
                await jetstream.delete_stream(stream.config.name or STREAM)
        async with self.postgres_connection() as postgres:
            await postgres.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    @asynccontextmanager
    async def redis_client(self) -> AsyncIterator[Redis]:
        address = self.addresses["redis"]
        async with Redis(
            host="127.0.0.1", port=address.port, password=address.password, decode_responses=True
        ) as redis:
            yield redis

    @asynccontextmanager
    async def nats_client(self) -> AsyncIterator[NatsClient]:
        address = self.addresses["nats"]
        client = await nats.connect(
            f"nats://127.0.0.1:{address.port}", user=_USER, password=address.password
        )
        try:
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def postgres_connection(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        address = self.addresses["postgres"]
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=address.port,
            user=_USER,
            password=address.password,
            database=_USER,
        )
        try:
            yield connection
        finally:
            await connection.close(timeout=5)
