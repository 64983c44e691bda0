"""A project's containers as the system status that bidkit shows."""

from collections.abc import Mapping, Sequence

from pkg.devkit.compose.container import Container
from pkg.devkit.compose.usage import Usage
from pkg.devkit.names import API, BROADCAST, EDGE, SERVICES, STORES
from pkg.devkit.system import Desired, ServiceStatus, SystemStatus

KINDS = {
    **dict.fromkeys(SERVICES, "service"),
    **dict.fromkeys(STORES, "store"),
    EDGE: "edge",
}


def system_of(
    containers: Sequence[Container], desired: Desired, usage: Mapping[str, Usage]
) -> SystemStatus:
    ports = {
        API: desired.api_port,
        BROADCAST: desired.broadcast_port,
        EDGE: desired.edge_port,
    }
    return SystemStatus(
        backend="compose",
        api_url=f"http://127.0.0.1:{desired.api_port}",
        websocket_url=f"ws://127.0.0.1:{desired.broadcast_port}",
        edge_url=f"http://127.0.0.1:{desired.edge_port}",
        services=tuple(
            _service(
                name,
                [one for one in containers if one.service == name],
                usage,
                port=ports.get(name),
                desired=desired.replicas.get(name, 1) if name in SERVICES else 1,
            )
            for name in KINDS
        ),
    )


def _service(
    name: str,
    containers: Sequence[Container],
    usage: Mapping[str, Usage],
    *,
    port: int | None,
    desired: int,
) -> ServiceStatus:
    replicas = tuple(one.as_replica(usage) for one in containers)
    return ServiceStatus(
        service=name,
        kind=KINDS[name],
        ready=sum(one.ready for one in replicas),
        desired=desired,
        restarts=sum(one.restarts for one in replicas),
        port=port,
        replicas=replicas,
    )
