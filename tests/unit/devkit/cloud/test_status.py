"""What AWS says of the system, as `get` shows it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pkg.devkit.cloud.status import system_of
from pkg.devkit.system import ReplicaStatus
from tests.unit.devkit.cloud.fake_aws import OUTPUTS, FakeAws


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


def only_task(aws: FakeAws, part: str) -> ReplicaStatus:
    (replica,) = system_of(aws, OUTPUTS, backend="cloud").of(part).replicas
    return replica


def change_tasks(aws: FakeAws, **change: Any) -> None:  # noqa: ANN401
    tasks = aws.answers["describe_tasks"]
    assert callable(tasks)
    aws.answers["describe_tasks"] = lambda **given: {
        "tasks": [one | change for one in tasks(**given)["tasks"]]
    }


def test_healthy_system_is_ready_in_all_its_parts(aws: FakeAws) -> None:
    status = system_of(aws, OUTPUTS, backend="cloud")

    assert status.ready
    assert [one.service for one in status.services] == [
        "api-gateway",
        "broadcast-service",
        "archival-worker",
        "redis",
        "nats",
        "postgres",
        "edge",
    ]
    assert (status.api_url, status.websocket_url) == (OUTPUTS.alb_url, OUTPUTS.ws_url)


def test_task_is_shown_with_its_address_and_age(aws: FakeAws) -> None:
    change_tasks(aws, startedAt=datetime.now(UTC) - timedelta(seconds=90))

    replica = only_task(aws, "api-gateway")

    assert (replica.name, replica.host, replica.port) == ("api-gateway-00000000", "10.0.0.7", 8080)
    assert replica.age_s is not None
    assert 90 <= replica.age_s < 100


@pytest.mark.parametrize(
    ("change", "phase"),
    [
        ({"lastStatus": "PENDING"}, "starting"),
        ({"healthStatus": "UNKNOWN"}, "starting"),
        ({"healthStatus": "UNHEALTHY"}, "unready"),
        ({"desiredStatus": "STOPPED"}, "stopping"),
        ({"lastStatus": "DEACTIVATING"}, "stopping"),
    ],
)
def test_task_that_is_not_healthy_is_not_ready(
    aws: FakeAws, change: dict[str, str], phase: str
) -> None:
    change_tasks(aws, **change)

    replica = only_task(aws, "archival-worker")

    assert (replica.phase, replica.ready) == (phase, False)


def test_task_is_ready_only_when_the_load_balancer_sends_it_requests(aws: FakeAws) -> None:
    aws.answers["describe_target_health"] = {
        "TargetHealthDescriptions": [
            {"Target": {"Id": "10.0.0.7"}, "TargetHealth": {"State": "initial"}}
        ]
    }

    assert only_task(aws, "api-gateway").why == "the load balancer does not find it healthy"
    assert only_task(aws, "archival-worker").ready


@pytest.mark.parametrize(
    ("operation", "path", "part"),
    [
        ("describe_replication_groups", ("ReplicationGroups", "Status"), "redis"),
        ("describe_db_instances", ("DBInstances", "DBInstanceStatus"), "postgres"),
    ],
)
def test_store_that_is_not_available_is_not_ready(
    aws: FakeAws, operation: str, path: tuple[str, str], part: str
) -> None:
    answer: Any = aws.answers[operation]
    answer[path[0]][0][path[1]] = "failed"

    status = system_of(aws, OUTPUTS, backend="cloud").of(part)

    assert (status.ready, status.desired) == (0, 1)
    assert "AWS says failed" in str(status.replicas[0].why)


def test_load_balancer_that_is_being_made_is_not_ready(aws: FakeAws) -> None:
    answer: Any = aws.answers["describe_load_balancers"]
    answer["LoadBalancers"][0]["State"]["Code"] = "provisioning"

    assert not system_of(aws, OUTPUTS, backend="cloud").ready
