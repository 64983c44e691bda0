"""Owns everything that runs: stores, services, their sockets and the desired state."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from pkg.devkit.backend import STOPPING, Options, Say
from pkg.devkit.errors import BadArgument, BidkitError
from pkg.devkit.home import Home, load, save
from pkg.devkit.log_files import keep_small, set_aside
from pkg.devkit.names import API, ARCHIVAL, BROADCAST, NATS, POSTGRES, REDIS, SERVICES, STORES
from pkg.devkit.nats_users import NatsUsers
from pkg.devkit.ports import free_port
from pkg.devkit.process.child import Hurry
from pkg.devkit.process.fleet import Fleet
from pkg.devkit.process.postgres import PostgresServer
from pkg.devkit.process.records import Records
from pkg.devkit.process.replica import Patience, Replica
from pkg.devkit.process.servers import NatsServer, RedisServer, Server
from pkg.devkit.process.workloads import StoreWorkload, Workload
from pkg.devkit.service_settings import check_together
from pkg.devkit.system import Desired, ServiceStatus, SystemStatus

PREFERRED_PORTS = {REDIS: 16379, NATS: 14222, POSTGRES: 15432}
SAMPLE_EVERY_S = 2.0
STORES_STOP_IN_ORDER = (NATS, POSTGRES, REDIS)


class Supervisor:
    """`prepare`, then `run` until `stop`; the other methods may be called in between, by one event
    loop. The caller holds the home's lock.
    """

    def __init__(self, home: Home, options: Options, *, event: Say) -> None:
        self._home = home
        self._hurry = Hurry(asyncio.Event())
        self._stop = asyncio.Event()
        self._event = event
        self._desired = options.applied_to(load(home.desired, Desired) or Desired())
        self._records = Records(home.processes)
        self._nats_users = NatsUsers.kept_in(home.nats_users)
        self._servers: dict[str, Server] = {}
        self._stores: dict[str, Replica] = {}
        self._fleets: dict[str, Fleet] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def environment_of(self, user: str) -> dict[str, str]:
        """Settings of a service, or of restore, besides its addresses."""
        elsewhere = self._desired.settings.get("NATS_URL")  # our passwords are for our server only
        return {
            "REDIS_URL": self._servers[REDIS].url,
            "NATS_URL": self._servers[NATS].url,
            **({} if elsewhere else self._nats_users.settings_of(user)),
            "POSTGRES_URL": self._servers[POSTGRES].url,
            "LOG_FORMAT": "text",
            "BID_STRATEGY": self._desired.bid_strategy,
            "BID_STRATEGY_OVERRIDE": "true",
            **self._desired.settings,
        }

    @property
    def desired(self) -> Desired:
        return self._desired

    def status(self) -> SystemStatus:
        stores = tuple(
            _store_status(name, self._stores.get(name), self._servers[name].port) for name in STORES
        )
        return SystemStatus(
            backend="process",
            api_url=f"http://127.0.0.1:{self._desired.api_port}",
            websocket_url=f"ws://127.0.0.1:{self._desired.broadcast_port}",
            services=(*(self._fleets[name].status() for name in SERVICES), *stores),
        )

    async def prepare(self) -> None:
        """Checks everything that can be refused, before anything is started.

        Raises BadArgument, PortTaken, MissingServer or UnusableData, having started nothing and
        remembered nothing.
        """
        if self._desired.api_port == self._desired.broadcast_port:
            raise BadArgument(
                f"{API} and {BROADCAST} cannot both serve on port {self._desired.api_port}; choose "
                "with --api-port and --broadcast-port."
            )
        set_aside(self._home)
        self._servers = self._define_servers()
        self._refuse_ports_of_stores()
        for service in SERVICES:
            check_together(service, self.environment_of(service))
        ports = {API: self._desired.api_port, BROADCAST: self._desired.broadcast_port}
        for service in SERVICES:
            self._fleets[service] = Fleet(
                service,
                port=ports.get(service),
                desired=self._desired.replicas.get(service, 1),
                settings=self.environment_of(service),
                begin=self._begin,
            )
        try:
            for fleet in self._fleets.values():
                fleet.bind()
            # Making a data directory takes a second.
            async with asyncio.TaskGroup() as preparing:
                for server in self._servers.values():
                    preparing.create_task(asyncio.to_thread(server.prepare))
        except BaseException as error:  # also Ctrl-C: release the ports
            for fleet in self._fleets.values():
                fleet.close()
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise
        save(self._home.desired, self._desired)

    async def run(self) -> None:
        """Returns when everything has stopped, in order."""
        async with asyncio.TaskGroup() as self._tasks:
            sampling = self._tasks.create_task(self._sample())
            for name, server in self._servers.items():
                self._stores[name] = self._begin(name, StoreWorkload(server))
            # Services start without stores too, but would spend their first seconds reconnecting.
            starting = self._tasks.create_task(self._begin_services())
            await self._stop.wait()
            starting.cancel()
            await asyncio.gather(*(fleet.stop() for fleet in self._fleets.values()))
            for name in STORES_STOP_IN_ORDER:
                await self._stores[name].stop()
            sampling.cancel()

    def stop(self) -> None:
        """Begins an orderly stop. A second call kills what has not ended within a second."""
        again = self._stop.is_set()
        self._stop.set()
        if again:
            self._hurry.asked.set()
            self._event("hurrying: what has not ended within a second is killed")
        else:
            self._event(STOPPING)

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    async def scale(self, replicas: Mapping[str, int], *, say: Say) -> None:
        for name in replicas:
            self._fleets[name].check_idle()  # a refused number must not become desired
        wanted = {**self._desired.replicas, **replicas}
        self._desired = msgspec.structs.replace(self._desired, replicas=wanted)
        save(self._home.desired, self._desired)
        await asyncio.gather(
            *(self._fleets[name].scale(number, say=say) for name, number in replicas.items())
        )

    async def restart(self, service: str, *, say: Say) -> None:
        if service in self._fleets:
            await self._fleets[service].restart(say=say)
        elif service in self._stores:
            say(f"{service} stops and starts again")
            await self._stores[service].bounce()
            say(f"{service} is ready")
        else:
            raise BadArgument(f"there is no service {service!r}.")

    def _refuse_ports_of_stores(self) -> None:
        ports = {API: self._desired.api_port, BROADCAST: self._desired.broadcast_port}
        for service, port in ports.items():
            for server in self._servers.values():
                if port in server.ports:
                    raise BadArgument(
                        f"{service} and {server.name} cannot both serve on port {port}; choose "
                        "another with --api-port or --broadcast-port."
                    )

    def _define_servers(self) -> dict[str, Server]:
        kept = {**PREFERRED_PORTS, **self._desired.store_ports}
        ports = {name: free_port(kept[name]) for name in STORES}
        self._desired = msgspec.structs.replace(self._desired, store_ports=ports)
        data = self._home.data
        return {
            REDIS: RedisServer(data=data / REDIS, port=ports[REDIS]),
            NATS: NatsServer(
                data=data / NATS,
                port=ports[NATS],
                monitoring_port=free_port(18222),
                users=self._nats_users,
            ),
            POSTGRES: PostgresServer(data=data / POSTGRES, port=ports[POSTGRES]),
        }

    async def _begin_services(self) -> None:
        while not all(store.ready for store in self._stores.values()):
            await asyncio.sleep(0.02)
        for service in (API, BROADCAST, ARCHIVAL):
            self._fleets[service].begin()

    def _begin(self, name: str, workload: Workload) -> Replica:
        if self._tasks is None or self._stop.is_set():
            raise BidkitError("the system is stopping.")
        replica = Replica(
            name,
            workload,
            log=self._home.log(name),
            records=self._records,
            hurry=self._hurry,
            event=self._event,
            patience=Patience(),
        )
        self._tasks.create_task(replica.run(), name=name)
        return replica

    async def _sample(self) -> None:
        """Samples CPU and memory for `get`, and cuts logs that grew too long."""
        while True:
            for replica in self._everything():
                replica.sample()
            with suppress(OSError):  # a full disk must not stop a server; the next round retries
                await asyncio.to_thread(keep_small, self._home)
            await asyncio.sleep(SAMPLE_EVERY_S)

    def _everything(self) -> tuple[Replica, ...]:
        ours = (replica for fleet in self._fleets.values() for replica in fleet.replicas)
        return (*ours, *self._stores.values())


def _store_status(name: str, store: Replica | None, port: int) -> ServiceStatus:
    replicas = (store.status(),) if store else ()
    return ServiceStatus(
        service=name,
        kind="store",
        ready=sum(one.ready for one in replicas),
        desired=1,
        restarts=sum(one.restarts for one in replicas),
        port=port,
        replicas=replicas,
    )
