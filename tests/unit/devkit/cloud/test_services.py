"""Roll-outs and the wait for them; nothing here waits longer than a look."""

from typing import Any

import pytest

from pkg.devkit.cloud import services as module
from pkg.devkit.cloud.services import Services, is_steady
from pkg.devkit.errors import BadArgument, NotReady
from tests.unit.devkit.cloud.fake_aws import CLUSTER, FakeAws, deployment, quiet

API = "bidding-system-api-gateway"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.01)


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def services(aws: FakeAws) -> Services:
    return Services(aws, CLUSTER)


def test_nats_is_all_of_its_servers(aws: FakeAws, services: Services) -> None:
    arns = [
        f"arn:ecs:service/c/bidding-system-{name}" for name in ("api-gateway", "nats-2", "nats-1")
    ]
    first: dict[str, Any] = {"serviceArns": arns[:2], "nextToken": "more"}
    pages = iter([first, {"serviceArns": arns[2:]}])
    aws.answers["list_services"] = lambda **_: next(pages)

    assert services.names("nats") == ["bidding-system-nats-1", "bidding-system-nats-2"]
    assert services.names("api-gateway") == [API]


@pytest.mark.parametrize(
    "change",
    [
        {"runningCount": 0},
        {"pendingCount": 1},
        {"deployments": [deployment("new"), deployment("old", status="ACTIVE")]},
        {"deployments": [deployment("new", "IN_PROGRESS")]},
    ],
)
def test_service_is_not_steady_before_everything_is(
    aws: FakeAws, change: dict[str, object]
) -> None:
    service = aws.services[API]
    assert is_steady(service)

    service.update(change)

    assert not is_steady(service)


def test_roll_waits_for_its_own_deployment(aws: FakeAws, services: Services) -> None:
    said: list[str] = []

    services.roll([API], say=said.append)

    (call,) = aws.asked("ecs.update_service")
    assert (call["service"], call["forceNewDeployment"]) == (API, True)
    assert said == [f"{API} runs 1 of 1 tasks"]


def test_failed_deployment_is_an_error_that_says_why_its_task_stopped(
    aws: FakeAws, services: Services
) -> None:
    failed = deployment("new", "FAILED") | {"rolloutStateReason": "tasks failed to start"}
    aws.answers["update_service"] = lambda service, **_: {
        "service": aws.services[service] | {"deployments": [deployment("new", "IN_PROGRESS")]}
    }
    aws.services[API]["deployments"] = [failed, deployment("back", status="ACTIVE")]
    aws.stopped[API] = [
        {
            "taskArn": "arn:task/x/1",
            "stoppedReason": "Essential container exited",
            "containers": [{"reason": "CannotPullContainerError"}],
        }
    ]

    with pytest.raises(
        NotReady,
        match=r"api-gateway failed: tasks failed to start\. Its last task stopped: "
        r"Essential container exited; CannotPullContainerError\.",
    ):
        services.roll([API], say=quiet)


def test_deployment_that_was_rolled_back_is_an_error_though_the_service_is_steady(
    aws: FakeAws, services: Services
) -> None:
    aws.answers["update_service"] = lambda service, **_: {
        "service": aws.services[service] | {"deployments": [deployment("new", "IN_PROGRESS")]}
    }
    aws.services[API]["deployments"] = [deployment("back")]

    with pytest.raises(NotReady, match="failed and was rolled back"):
        services.roll([API], say=quiet)


def test_wait_ends_with_what_ecs_says(aws: FakeAws, services: Services) -> None:
    aws.services[API].update(runningCount=0, events=[{"message": "unable to place a task"}])

    with pytest.raises(NotReady, match=r"not steady after 0\.05 s\. ECS says: unable to place"):
        services.wait([API], say=quiet, within_s=0.05)


def test_interrupt_ends_the_wait(aws: FakeAws, services: Services) -> None:
    aws.services[API].update(runningCount=0)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        services.wait([API], say=quiet, check=interrupt)


@pytest.mark.parametrize(("count", "well"), [(1, False), (2, True), (4, True), (5, False)])
def test_number_that_auto_scaling_would_take_back_is_refused(
    aws: FakeAws, services: Services, count: int, *, well: bool
) -> None:
    aws.answers["describe_scalable_targets"] = {
        "ScalableTargets": [{"MinCapacity": 2, "MaxCapacity": 4}]
    }

    if well:
        services.check_scaling(API, count)
    else:
        with pytest.raises(BadArgument, match="scales itself between 2 and 4 tasks"):
            services.check_scaling(API, count)
    assert aws.asked("application-autoscaling.describe_scalable_targets") == [
        {"ServiceNamespace": "ecs", "ResourceIds": [f"service/{CLUSTER}/{API}"]}
    ]


def test_scale_sets_the_number_and_waits(aws: FakeAws, services: Services) -> None:
    said: list[str] = []

    services.scale(API, 3, say=said.append)

    assert said == [f"{API} runs 3 of 3 tasks"]


def test_service_that_is_gone_is_named(aws: FakeAws, services: Services) -> None:
    aws.services[API]["status"] = "INACTIVE"

    with pytest.raises(NotReady, match=f"has no service {API}"):
        services.described(API)
