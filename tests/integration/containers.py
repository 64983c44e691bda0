"""The stores as containers, by testcontainers, for `--servers=containers`."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import docker
from docker.errors import APIError, NotFound
from testcontainers.community.nats import NatsContainer
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.redis import RedisContainer
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer

from pkg.devkit.nats_users import ADMINISTRATOR, NatsUsers
from pkg.devkit.ports import free_ports
from pkg.devkit.process import probes
from pkg.devkit.process.servers import REDIS_MAX_MEMORY

if TYPE_CHECKING:
    from tests.integration.providers import Store

OWNER = "bidding-tests.pid"
"""Label: the process whose containers these are."""

_READY_WITHIN_S = 30.0
_PASSWORD = "tests-only"


class ContainerServers:
    """One container per store. Its port never changes; its data stays until `discard_data`."""

    names: "tuple[Store, ...]" = ("redis", "nats", "postgres")

    def __init__(self) -> None:
        # The ports are published on loopback; testcontainers would look at the bridge's gateway.
        testcontainers_config.tc_host_override = "127.0.0.1"
        testcontainers_config.connection_mode_override = ConnectionMode.docker_host
        end_leftovers()
        self._ports = dict(zip(self.names, free_ports(3), strict=True))
        self.nats_users = NatsUsers.random()
        self._containers: dict[Store, DockerContainer] = {}

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self._ports['redis']}/0"

    @property
    def nats_url(self) -> str:
        return self.nats_users.url_of(ADMINISTRATOR, self._ports["nats"])

    @property
    def postgres_url(self) -> str:
        port = self._ports["postgres"]
        return f"postgresql://bidding:{_PASSWORD}@127.0.0.1:{port}/bidding"

    def start(self, name: "Store") -> None:
        container = self._containers.get(name)
        if container is None:
            self._containers[name] = container = self._make(name)  # removed also if the start fails
            container.start()
        else:
            container.get_wrapped_container().start()
        deadline = time.monotonic() + _READY_WITHIN_S
        while why := self._unready(name):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start: {why}\n{self.log(name)}")
            time.sleep(0.02)

    def stop(self, name: "Store") -> None:
        self._containers[name].get_wrapped_container().stop(timeout=20)

    def kill(self, name: "Store") -> None:
        container = self._containers[name].get_wrapped_container()
        container.kill()
        container.wait(timeout=20)

    def pause(self, name: "Store") -> None:
        self._containers[name].get_wrapped_container().pause()

    def resume(self, name: "Store") -> None:
        self._containers[name].get_wrapped_container().unpause()

    def log(self, name: "Store") -> str:
        if name not in self._containers:
            return ""
        output = self._containers[name].get_wrapped_container().logs(tail=60)
        return str(output.decode(errors="replace"))[-4000:]

    def discard_data(self, name: "Store") -> None:
        self._containers.pop(name).stop()

    def end(self) -> None:
        for container in self._containers.values():
            with suppress(NotFound):
                container.stop()  # removes it with its volumes, also if paused
        self._containers.clear()

    def _make(self, name: "Store") -> DockerContainer:
        makers: dict[Store, Callable[[], DockerContainer]] = {
            "redis": _redis,
            "nats": lambda: _nats(self.nats_users),
            "postgres": _postgres,
        }
        inner = {"redis": 6379, "nats": 4222, "postgres": 5432}[name]
        container = makers[name]().with_kwargs(labels={OWNER: str(os.getpid())})
        # On loopback only: with_bind_ports takes no host address.
        container.ports = {f"{inner}/tcp": ("127.0.0.1", self._ports[name])}  # type: ignore[dict-item]
        return container

    def _unready(self, name: "Store") -> str | None:
        port = self._ports[name]
        match name:
            case "redis":
                return probes.redis_says(port)
            case "nats":
                password = self.nats_users.passwords[ADMINISTRATOR]
                return probes.nats_says(port, user=ADMINISTRATOR, password=password)
            case _:
                ready = self._containers[name].exec(["pg_isready", "-q", "-h", "127.0.0.1"])
                return None if ready.exit_code == 0 else "pg_isready fails"


def end_leftovers() -> None:
    """Removes containers of killed test runs: there may be no reaper."""
    client = docker.from_env()
    try:
        # Another run may remove the same containers at the same time.
        found = client.containers.list(all=True, filters={"label": OWNER}, ignore_removed=True)
        for container in found:
            if not _is_alive(int(container.labels[OWNER])):
                with suppress(APIError):  # being removed already
                    container.remove(force=True, v=True)
    finally:
        client.close()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _image(variable: str, official: str) -> str:
    return os.environ.get(variable) or official


def _redis() -> DockerContainer:
    return RedisContainer(_image("REDIS_IMAGE", "redis:7-alpine")).with_command(
        [
            *("redis-server", "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--maxmemory", REDIS_MAX_MEMORY, "--maxmemory-policy", "noeviction"),
        ]
    )


def _nats(users: NatsUsers) -> DockerContainer:
    configuration = f"{users.configuration}jetstream {{ store_dir: /tmp/store }}\n"
    return (
        NatsContainer(_image("NATS_IMAGE", "nats:2-alpine"))
        .with_copy_into_container(configuration.encode(), "/nats.conf")
        .with_command(["-c", "/nats.conf"])
    )


def _postgres() -> DockerContainer:
    return PostgresContainer(
        _image("POSTGRES_IMAGE", "postgres:15-alpine"),
        username="bidding",
        password=_PASSWORD,
        dbname="bidding",
    ).with_command(["postgres", "-c", "fsync=off"])
