"""The system as bidkit's user sees it, whichever backend runs it."""

import msgspec

from pkg.devkit.errors import BadArgument
from pkg.devkit.names import NO_EDGE, SERVICES

DEFAULT_API_PORT = 8080
DEFAULT_BROADCAST_PORT = 8081
DEFAULT_EDGE_PORT = 8000
DEFAULT_STRATEGY = "lua"


def _one_each() -> dict[str, int]:
    return dict.fromkeys(SERVICES, 1)


class Desired(msgspec.Struct, frozen=True):
    """What should run. `down` keeps it, `down --volumes` deletes it."""

    api_port: int = DEFAULT_API_PORT
    broadcast_port: int = DEFAULT_BROADCAST_PORT
    edge_port: int = DEFAULT_EDGE_PORT
    """The load balancer's port, if the backend has one."""

    bid_strategy: str = DEFAULT_STRATEGY
    replicas: dict[str, int] = msgspec.field(default_factory=_one_each)
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    """Environment variables for the services, besides those that bidkit sets."""

    store_ports: dict[str, int] = msgspec.field(default_factory=dict)
    """The stores' last ports, kept unless another program takes them."""


class ReplicaStatus(msgspec.Struct, frozen=True):
    name: str
    phase: str
    """starting, ready, unready, stopping, waiting (to be started again) or stopped (by hand)."""

    ready: bool
    restarts: int
    pid: int | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    """For a service, where this replica answers health checks; for a store, its port."""

    age_s: float | None = None
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    why: str | None = None
    """Why it is not ready, or how it last ended."""

    log: str | None = None
    """The log file, or the command that shows it."""


class ServiceStatus(msgspec.Struct, frozen=True):
    service: str
    kind: str
    """service, store or edge."""

    ready: int
    desired: int
    restarts: int
    port: int | None
    replicas: tuple[ReplicaStatus, ...]


class SystemStatus(msgspec.Struct, frozen=True):
    backend: str
    api_url: str
    websocket_url: str
    services: tuple[ServiceStatus, ...]
    edge_url: str | None = None
    """One address for every route, if there is a load balancer."""

    @property
    def ready(self) -> bool:
        return all(one.ready >= one.desired for one in self.services)

    @property
    def replicas(self) -> set[str]:
        """The names of all."""
        return {replica.name for one in self.services for replica in one.replicas}

    def of(self, service: str) -> ServiceStatus:
        """Raises BadArgument for a part that this backend does not have."""
        for one in self.services:
            if one.service == service:
                return one
        raise BadArgument(NO_EDGE)
