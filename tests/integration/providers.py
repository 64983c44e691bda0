"""Chooses and runs the servers that the tests use.

`--servers=wheels`, the default: programs from wheels, started by us. `--servers=containers`:
containers of a Docker engine, through testcontainers.
"""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import nats
import psutil
from nats.aio.client import Client

from pkg.devkit.nats_users import NatsUsers
from pkg.devkit.ports import free_ports
from pkg.devkit.process.postgres import PostgresServer
from pkg.devkit.process.servers import NatsServer, RedisServer, Server

Store = Literal["redis", "nats", "postgres"]

_READY_WITHIN_S = 20.0


class Servers(Protocol):
    """Real stores for a whole test session. What a test stops, the next `stores` fixture starts."""

    @property
    def redis_url(self) -> str: ...
    @property
    def nats_url(self) -> str:
        """The administrator's URL."""

    @property
    def nats_users(self) -> NatsUsers: ...
    @property
    def postgres_url(self) -> str:
        """The administrator's URL. Tests use the database that `stores` makes for each."""

    def start(self, name: Store) -> None:
        """Starts it unless it runs; returns when it answers. Address and data stay.

        Call it from the main thread: on Linux the server ends with the thread that started it.
        """

    def stop(self, name: Store) -> None:
        """Stops it gracefully; returns when it has ended."""

    def kill(self, name: Store) -> None:
        """Kills it, as a crash; returns when it has ended."""

    def pause(self, name: Store) -> None:
        """Freezes it: it keeps its connections and answers nothing, like a hung machine."""

    def resume(self, name: Store) -> None: ...

    def log(self, name: Store) -> str:
        """The end of its log."""

    def discard_data(self, name: Store) -> None:
        """Deletes its data. It must not run."""


@dataclass(frozen=True, slots=True)
class Stores:
    """URLs of empty stores."""

    redis_url: str
    nats_url: str
    """The administrator's, who may do everything."""

    nats_users: NatsUsers
    postgres_url: str

    def environment_of(self, user: str) -> dict[str, str]:
        """For a service, which is NATS' user of that name."""
        nats = {name.upper(): value for name, value in self.nats_of(user).items()}
        return {"REDIS_URL": self.redis_url, "POSTGRES_URL": self.postgres_url, **nats}

    def nats_of(self, user: str) -> dict[str, Any]:
        """Fields of NatsSettings."""
        own = {name.lower(): value for name, value in self.nats_users.settings_of(user).items()}
        return {"nats_url": f"nats://{self.nats_url.rpartition('@')[2]}", **own}

    @asynccontextmanager
    async def nats_administrator(self) -> AsyncIterator[Client]:
        """For what no service may do."""
        client = await nats.connect(self.nats_url)
        try:
            yield client
        finally:
            await client.close()


@contextmanager
def provide(provider: str) -> Iterator[Servers]:
    """Runs the servers while the block runs; deletes their data afterwards."""
    if provider == "containers":
        from tests.integration.containers import ContainerServers  # needs an engine

        containers = ContainerServers()
        try:
            for name in containers.names:
                containers.start(name)
            yield containers
        finally:
            containers.end()
        return
    # A short path that others can enter: PostgreSQL may have to run as another user.
    home = Path(tempfile.mkdtemp(prefix="bidding-tests-"))
    home.chmod(0o755)
    servers = WheelServers(home)
    try:
        for name in servers.names:
            servers.start(name)
        yield servers
    finally:
        servers.end()
        shutil.rmtree(home)


class WheelServers:
    """Servers from wheels or PATH, as child processes of the tests."""

    names: tuple[Store, ...] = ("redis", "nats", "postgres")

    def __init__(self, home: Path) -> None:
        redis, broker, monitoring, postgres = free_ports(4)
        self._postgres = PostgresServer(data=home / "postgres", port=postgres, durable=False)
        self._nats = NatsServer(data=home / "nats", port=broker, monitoring_port=monitoring)
        self._servers: dict[Store, Server] = {
            "redis": RedisServer(data=home / "redis", port=redis),
            "nats": self._nats,
            "postgres": self._postgres,
        }
        self._home = home
        self._running: dict[Store, subprocess.Popen[bytes]] = {}

    @property
    def redis_url(self) -> str:
        return self._servers["redis"].url

    @property
    def nats_url(self) -> str:
        return self._nats.administrator_url

    @property
    def nats_users(self) -> NatsUsers:
        return self._nats.users

    @property
    def postgres_url(self) -> str:
        return self._postgres.url

    def start(self, name: Store) -> None:
        running = self._running.get(name)
        if running and running.poll() is None:
            return
        server = self._servers[name]
        server.prepare()
        # The data is disposable: if the tests die, nothing needs a graceful stop.
        launch = replace(server.launch(), orphan_signal=signal.SIGKILL)
        with self._log_file(name).open("ab") as log:
            process = subprocess.Popen(
                launch.argv,
                **launch.options(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._running[name] = process
        deadline = time.monotonic() + _READY_WITHIN_S
        while why := server.unready():
            if process.poll() is not None or time.monotonic() > deadline:
                self._end(name, signal.SIGKILL)
                raise RuntimeError(f"{name} did not start: {why}\n{self.log(name)}")
            time.sleep(0.01)

    def stop(self, name: Store) -> None:
        self._end(name, self._servers[name].launch().stop_signal)

    def kill(self, name: Store) -> None:
        # PostgreSQL's other processes end a moment after their parent; until then no new server
        # may use the data.
        children = psutil.Process(self._running[name].pid).children(recursive=True)
        self._end(name, signal.SIGKILL)
        psutil.wait_procs(children, timeout=10)

    def pause(self, name: Store) -> None:
        self._running[name].send_signal(signal.SIGSTOP)

    def resume(self, name: Store) -> None:
        self._running[name].send_signal(signal.SIGCONT)

    def log(self, name: Store) -> str:
        path = self._log_file(name)
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def discard_data(self, name: Store) -> None:
        self._servers[name].discard()

    def end(self) -> None:
        for name in tuple(self._running):
            self._end(name, self._servers[name].launch().stop_signal)
        self._postgres.discard()

    def _end(self, name: Store, how: signal.Signals) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _log_file(self, name: Store) -> Path:
        return self._home / f"{name}.log"
