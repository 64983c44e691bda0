"""The stack's stores, reached over ports that only the bench's compose override publishes."""

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
class Door:
    """Where the stores' ports are published, and their passwords."""

    port: int
    password: str


@dataclass(frozen=True, slots=True)
class ContainerStores:
    redis: Container
    nats: Container
    postgres: Container
    doors: dict[str, Door]
    """By store name."""

    @property
    def all(self) -> tuple[Container, Container, Container]:
        return self.redis, self.nats, self.postgres

    async def renew(self) -> None:
        """Makes them run, reachable and empty. Nobody may be using them."""
        await asyncio.gather(*(store.start() for store in self.all))
        async with self.asking_redis() as redis:
            await redis.flushall()
        async with self.asking_nats() as client:
            jetstream = client.jetstream()
            for stream in await jetstream.streams_info():
                await jetstream.delete_stream(stream.config.name or STREAM)
        async with self.asking_postgres() as postgres:
            await postgres.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    @asynccontextmanager
    async def asking_redis(self) -> AsyncIterator[Redis]:
        door = self.doors["redis"]
        async with Redis(
            host="127.0.0.1", port=door.port, password=door.password, decode_responses=True
        ) as redis:
            yield redis

    @asynccontextmanager
    async def asking_nats(self) -> AsyncIterator[NatsClient]:
        door = self.doors["nats"]
        client = await nats.connect(
            f"nats://127.0.0.1:{door.port}", user=_USER, password=door.password
        )
        try:
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def asking_postgres(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        door = self.doors["postgres"]
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=door.port,
            user=_USER,
            password=door.password,
            database=_USER,
        )
        try:
            yield connection
        finally:
            await connection.close(timeout=5)
