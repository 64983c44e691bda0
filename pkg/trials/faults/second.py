"""A second Redis beside the system's, and gateways on it. For rows on processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from pkg.auction.item import partition_names
from pkg.devkit.ports import free_ports
from pkg.devkit.process.servers import NatsServer, RedisServer
from pkg.stores.opening import require_open
from pkg.stores.redis_meta import NotOpenError
from pkg.trials.faults.services import Replica, Services
from pkg.trials.faults.stores import Store, Stores
from pkg.trials.waiting import until

_PARTITIONS = 4  # the default
REPLICATES_WITHIN_S = 20.0


class Second:
    """Nothing runs until a row starts it; `abandon` ends all of it."""

    def __init__(self, stores: Stores, services: Services, *, environment: dict[str, str]) -> None:
        """`services` and `environment` (of commands) are led to this Redis by `take_over`."""
        self._stores = stores
        self._services = services
        self._environment = environment
        self._first = stores.redis
        (port,) = free_ports(1)
        home = stores.home
        self.redis = Store(RedisServer(data=home / "redis-2", port=port), log=home / "redis-2.log")
        self._nats: Store | None = None
        self._own = Services(
            {**environment, "REDIS_URL": self.url},
            stores.nats_user,
            services.logs,
            prefix="second-",
        )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.redis.port}/0"

    @property
    def port(self) -> int:
        """For bidders of its gateway."""
        return self._own.api_port

    @asynccontextmanager
    async def first_client(self) -> AsyncIterator[Redis]:
        """Of the Redis that the system began with."""
        async with Redis(port=self._first.port, decode_responses=True) as redis:
            yield redis

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        async with Redis(port=self.redis.port, decode_responses=True) as redis:
            yield redis

    async def follow(self) -> None:
        """Starts it as a replica of the first; returns when it is up to date."""
        await self.redis.start()
        async with self.client() as redis:
            await follow(redis, self._first.port)

    async def opened(self) -> bool:
        """Whether bids may be placed on it."""
        async with Redis(port=self.redis.port) as redis:
            try:
                return bool(await require_open(redis, partition_names(_PARTITIONS)))
            except NotOpenError:
                return False

    async def lead(self) -> None:
        """Makes the first its replica; returns when that is up to date."""
        async with self.first_client() as redis:
            await follow(redis, self.redis.port)

    async def demote(self) -> None:
        """Makes it a replica of the first again."""
        async with self.client() as redis:
            await follow(redis, self._first.port)

    async def end_first(self) -> None:
        await self._first.stop()

    def gateway(self) -> Replica:
        """A gateway on this Redis with an address of its own, not started."""
        return self._own.api[0] if self._own.api else self._own.add_gateway()

    def take_over(self) -> None:
        """From now on services start, commands run and the bench looks on this Redis."""
        self._stores.redis = self.redis
        self._services.environment["REDIS_URL"] = self.url
        self._environment["REDIS_URL"] = self.url

    async def live_alone(self) -> None:
        """Gives its gateway a NATS, an archive and an archiver of its own, and starts them all."""
        (port,) = free_ports(1)
        home = self._stores.home
        server = NatsServer(data=home / "nats-2", port=port)
        self._nats = Store(server, log=home / "nats-2.log")
        await self.redis.start()
        await self._nats.start()
        database = await self._stores.make_database()
        self._own.environment |= {
            "NATS_URL": server.url,
            "POSTGRES_URL": self._stores.postgres_url(database),
        }
        self._own.nats_user = server.users.settings_of
        replicas = (self._own.add_archiver(), self.gateway())
        for replica in replicas:
            replica.process.start()
        for replica in replicas:
            await replica.becomes_ready()

    def join(self) -> None:
        """From the next start on its gateway uses the system's NATS."""
        self._own.environment["NATS_URL"] = self._services.environment["NATS_URL"]
        self._own.nats_user = self._stores.nats_user

    def abandon(self) -> None:
        self._own.abandon()
        self._stores.redis = self._first
        self.redis.abandon()
        if self._nats is not None:
            self._nats.abandon()


async def follow(redis: Redis, port: int) -> None:
    """Makes it a replica of the server on this port; returns when it is up to date."""
    await redis.replicaof("127.0.0.1", str(port))

    async def follows() -> bool:
        return (await redis.info("replication")).get("master_link_status") == "up"

    await until(follows, within_s=REPLICATES_WITHIN_S, what="the replica is up to date")
