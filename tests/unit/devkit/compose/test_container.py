from typing import Any

import pytest

from pkg.devkit.compose.container import Container, container_of
from pkg.devkit.compose.status import system_of
from pkg.devkit.compose.usage import Usage
from pkg.devkit.names import API, EDGE, REDIS, SERVICES, STORES
from pkg.devkit.system import Desired

HEALTHY = {"Status": "healthy", "Log": [{"Output": "ready\n"}]}
UNHEALTHY = {"Status": "unhealthy", "Log": [{"Output": "ready\n"}, {"Output": "503: no\nredis\n"}]}


def inspected(service: str = API, number: int = 1, **state: object) -> dict[str, Any]:
    usual = {
        "Status": "running",
        "ExitCode": 0,
        "OOMKilled": False,
        "Error": "",
        "Pid": 4711,
        "StartedAt": "2026-01-02T03:04:05.123456789Z",
    }
    return {
        "Id": f"id-{service}-{number}",
        "Name": f"/bidding-system-{service}-{number}",
        "RestartCount": 2,
        "State": usual | state,
        "Config": {
            "Labels": {
                "com.docker.compose.service": service,
                "com.docker.compose.container-number": str(number),
            },
            "Env": ["PATH=/bin", "ADMIN_ADDR=:9090"] if service in SERVICES else None,
        },
        "NetworkSettings": {"Networks": {"default": {"IPAddress": "172.20.0.5"}}},
    }


@pytest.mark.parametrize(
    ("state", "phase", "why"),
    [
        ({"Health": HEALTHY}, "ready", None),
        ({}, "ready", None),
        ({"Health": {"Status": "starting", "Log": []}}, "starting", "its health is starting"),
        ({"Health": UNHEALTHY}, "unready", "503: no redis"),
        ({"Status": "paused", "Health": HEALTHY}, "unready", "it is paused"),
        ({"Status": "created"}, "starting", None),
        (
            {"Status": "restarting", "ExitCode": 2},
            "waiting",
            "ended with code 2; Docker starts it again",
        ),
        (
            {"Status": "exited", "ExitCode": 137, "OOMKilled": True},
            "stopped",
            "ran out of memory; `bidkit up` starts it again",
        ),
        ({"Status": "removing"}, "stopping", "ended with code 0"),
    ],
)
def test_container_state_is_shown_as_phase_and_reason(
    state: dict[str, Any], phase: str, why: str | None
) -> None:
    container = container_of(inspected(**state))

    assert (container.phase, container.why) == (phase, why)
    assert container.ready == (phase == "ready")


def test_only_services_have_a_number_and_a_health_port() -> None:
    api, redis = container_of(inspected(API, 3)), container_of(inspected(REDIS))

    assert (api.replica, api.as_replica({}).host, api.as_replica({}).port) == (
        "api-gateway-3",
        "172.20.0.5",
        9090,
    )
    assert (redis.replica, redis.as_replica({}).port) == ("redis", None)


def test_container_that_never_started_has_no_age() -> None:
    never = inspected(Status="created", StartedAt="0001-01-01T00:00:00Z", Pid=0)

    replica = container_of(never).as_replica({})

    assert (replica.age_s, replica.pid) == (None, None)


def test_system_lists_services_without_containers_too() -> None:
    containers: list[Container] = [container_of(inspected(API, number)) for number in (1, 2)]
    desired = Desired(api_port=18080, edge_port=18000, replicas={API: 3})

    system = system_of(containers, desired, {"id-api-gateway-2": Usage(1.5, 2**20)})

    assert [one.service for one in system.services] == [*SERVICES, *STORES, EDGE]
    api = system.of(API)
    assert (api.ready, api.desired, api.restarts, api.port) == (2, 3, 4, 18080)
    assert [one.cpu_percent for one in api.replicas] == [None, 1.5]
    assert (system.of(EDGE).kind, system.of(EDGE).ready, system.of(EDGE).port) == ("edge", 0, 18000)
    assert not system.ready
