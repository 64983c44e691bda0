import io
import json

import pytest
from rich.console import Console, RenderableType

from pkg.devkit import views
from pkg.devkit.errors import BadArgument
from pkg.devkit.system import ReplicaStatus, ServiceStatus, SystemStatus


def replica(name: str, **fields: object) -> ReplicaStatus:
    usual = {"phase": "ready", "ready": True, "restarts": 0, "pid": 4711, "port": 40001}
    return ReplicaStatus(name, **{**usual, **fields})  # type: ignore[arg-type]


def service(*replicas: ReplicaStatus, desired: int) -> ServiceStatus:
    return ServiceStatus(
        service="api-gateway",
        kind="service",
        ready=sum(one.ready for one in replicas),
        desired=desired,
        restarts=sum(one.restarts for one in replicas),
        port=8080,
        replicas=replicas,
    )


def system(one: ServiceStatus) -> SystemStatus:
    return SystemStatus("process", "http://127.0.0.1:8080", "ws://127.0.0.1:8081", (one,))


def shown(what: RenderableType) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_service_with_one_replica_takes_one_row() -> None:
    one = replica("api-gateway-1", cpu_percent=12.34, memory_bytes=36 * 2**20, age_s=65.0)

    lines = shown(views.overview(system(service(one, desired=1))))

    assert lines == [
        "SERVICE READY RESTARTS PORT PID CPU MEMORY AGE",
        "api-gateway 1/1 0 8080 4711 12.3% 36.0 MiB 1m05s",
    ]


def test_service_with_several_replicas_has_a_row_for_each() -> None:
    ready = replica("api-gateway-1", restarts=2)
    broken = replica("api-gateway-2", ready=False, phase="waiting", pid=None)

    lines = shown(views.overview(system(service(ready, broken, desired=2))))

    assert lines[1:] == [
        "api-gateway 1/2 2 8080",
        "api-gateway-1 ready 2 4711 - - -",
        "api-gateway-2 waiting 0 - - - -",
    ]


def test_details_show_the_reason_and_the_health_address() -> None:
    broken = replica("api-gateway-1", ready=False, phase="unready", why="/ready says 503")

    lines = shown(views.details(service(broken, desired=1), settings={"LOG_FORMAT": "text"}))

    assert "setting LOG_FORMAT=text" in lines
    assert "because /ready says 503" in lines
    assert "health http://127.0.0.1:40001/ready (and /health, /metrics)" in lines


def test_json_has_the_same_fields_as_the_table() -> None:
    status = system(service(replica("api-gateway-1", age_s=1.0), desired=1))

    read = json.loads(views.as_json(status))

    (api,) = read["services"]
    assert (api["service"], api["ready"], api["desired"], api["restarts"], api["port"]) == (
        "api-gateway",
        1,
        1,
        0,
        8080,
    )
    assert {"pid", "cpu_percent", "memory_bytes", "age_s"} <= set(api["replicas"][0])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0s"), (59, "59s"), (190, "3m10s"), (7500, "2h05m"), (352_800, "4d02h")],
)
def test_durations_show_their_two_largest_units(seconds: float, text: str) -> None:
    assert views.duration(seconds) == text


def test_error_for_the_edge_on_processes_says_that_it_exists_only_on_compose() -> None:
    with pytest.raises(BadArgument, match="exists only on compose"):
        system(service(replica("api-gateway-1"), desired=1)).of("edge")
