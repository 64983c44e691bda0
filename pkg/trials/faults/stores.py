"""The bench's stores: real servers with their data in a temporary directory."""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import nats
from nats.aio.client import Client as NatsClient
from redis.asyncio import Redis

from pkg.devkit.ports import free_ports
from pkg.devkit.process.postgres import PostgresServer
from pkg.devkit.process.servers import NatsServer, RedisServer, Server, delete_tree
from pkg.trials.faults.child_process import Process
from pkg.trials.waiting import until

_READY_WITHIN_S = 30.0


class Store:
    """A server that rows can stop, kill and wipe."""

    def __init__(self, server: Server, *, log: Path) -> None:
        self.server = server
        self.name = server.name
        self.port = server.port
        self.data = server.data
        self._process = Process(server.name, server.launch, log=log)

    @property
    def log(self) -> str:
        return self._process.log

    async def start(self) -> None:
        """Returns when it answers; does nothing when it runs. Same address, same data."""
        if not self._process.alive:
            await asyncio.to_thread(self.server.prepare)
            self._process.start()
        await until(self._answers, within_s=_READY_WITHIN_S, what=f"{self.name} starts")

    async def stop(self) -> None:
        """Stops it gracefully; returns when it has ended."""
        await self._process.stop(self.server.launch().stop_signal)

    async def kill(self) -> None:
        await self._process.kill()

    async def wipe(self) -> None:
        """Kills it, deletes its data and starts it again."""
        await self.kill()
        await self.discard()
        await self.start()

    async def discard(self) -> None:
        await asyncio.to_thread(self.server.discard)

    def abandon(self) -> None:
        self._process.abandon()
        self.server.discard()

    async def _answers(self) -> bool:
        return await asyncio.to_thread(self.server.unready) is None


class Stores:
    """The three stores of a run; each row gets them empty. Made by `stores`."""

    def __init__(self, home: Path) -> None:
        redis, nats, postgres = free_ports(3)
        self.home = home
        self.redis = Store(RedisServer(data=home / "redis", port=redis), log=home / "redis.log")
        self._nats_server = NatsServer(data=home / "nats", port=nats)
        self.nats = Store(self._nats_server, log=home / "nats.log")
        self._postgres_server = PostgresServer(data=home / "postgres", port=postgres)
        self.postgres = Store(self._postgres_server, log=home / "postgres.log")
        self._numbers = itertools.count(1)
        self._database = ""

    @property
    def all(self) -> tuple[Store, Store, Store]:
        return self.redis, self.nats, self.postgres

    async def renew(self) -> None:
        """Empties Redis and NATS and makes a new PostgreSQL database."""
        await asyncio.gather(self.redis.wipe(), self.nats.wipe(), self.postgres.start())
        self._database = await self.make_database()

    async def make_database(self) -> str:
        """Returns its name."""
        name = f"faults_{next(self._numbers)}"
        administrator = await asyncpg.connect(self._postgres_server.url)
        try:
            await administrator.execute(f"CREATE DATABASE {name}")
        finally:
            await administrator.close()
        return name

    def environment(self, ports: dict[str, int] | None = None) -> dict[str, str]:
        """The stores' URLs; `ports`, by store, replaces their own. `nats_user` has the rest."""
        port = {store.name: store.port for store in self.all} | (ports or {})
        return {
            "REDIS_URL": f"redis://127.0.0.1:{port['redis']}/0",
            "NATS_URL": f"nats://127.0.0.1:{port['nats']}",
            "POSTGRES_URL": self.postgres_url(self._database, port=port["postgres"]),
        }

    def postgres_url(self, database: str, *, port: int | None = None) -> str:
        user = self._postgres_server.url.partition("//")[2].partition("@")[0]
        return f"postgresql://{user}@127.0.0.1:{port or self.postgres.port}/{database}"

    def nats_user(self, service: str) -> dict[str, str]:
        """Settings of a service, or of restore."""
        return self._nats_server.users.settings_of(service)

    @asynccontextmanager
    async def redis_client(self) -> AsyncIterator[Redis]:
        async with Redis.from_url(
            f"redis://127.0.0.1:{self.redis.port}/0", decode_responses=True
        ) as redis:
            yield redis

    @asynccontextmanager
    async def nats_client(self) -> AsyncIterator[NatsClient]:
        connection = await nats.connect(self._nats_server.administrator_url)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def postgres_connection(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        connection = await asyncpg.connect(self._postgres_server.url_of(self._database))
        try:
            yield connection
        finally:
            await connection.close(timeout=5)


@asynccontextmanager
async def stores() -> AsyncIterator[Stores]:
    """Runs the stores while the block runs; deletes their data afterwards."""
    home = await asyncio.to_thread(_open_folder)
    running = Stores(home)
    try:
        await running.postgres.start()
        yield running
    finally:
        for store in running.all:
            store.abandon()
        delete_tree(home)


def _open_folder() -> Path:
    """Makes a folder that others can enter: PostgreSQL may have to run as another user."""
    home = Path(tempfile.mkdtemp(prefix="bidkit-faults-"))
    home.chmod(0o755)
    return home
