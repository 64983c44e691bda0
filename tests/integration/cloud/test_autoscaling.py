"""ECS services follow their load, within their limits (a minute of a policy is here 3 s)."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession
from botocore.exceptions import ClientError

from pkg.trials.waiting import until
from tests.integration.cloud.conftest import SCALING_MINUTE_S
from tests.integration.cloud.ecs import cluster
from tests.integration.cloud.emulated import IMAGE, Emulated

pytestmark = pytest.mark.timeout(1000)  # builds the image

LEAST, MOST = 1, 3
_OUT_WITHIN_S = 40 * SCALING_MINUTE_S
_IN_WITHIN_S = 80 * SCALING_MINUTE_S
_BALANCER, _GROUP = "app/scaled/0123456789abcdef", "targetgroup/scaled/0123456789abcdef"

_BUSY = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
while True:
    until = time.monotonic() + 0.02
    while time.monotonic() < until: pass
    time.sleep(0.08)
"""
_IDLE = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
signal.pause()
"""
_EVERY_S = 0.5


class Scaled:
    """An ECS service of one task, registered as a scalable target."""

    def __init__(self, emulator: Emulated) -> None:
        self.name = f"scaled-{uuid4().hex[:8]}"
        self.ecs = emulator.client("ecs")
        self.scaling = emulator.client("application-autoscaling")
        self.cloudwatch = emulator.client("cloudwatch")
        self.target = {
            "ServiceNamespace": "ecs",
            "ResourceId": f"service/{self.name}/{self.name}",
            "ScalableDimension": "ecs:service:DesiredCount",
        }

    def start(self, program: str) -> None:
        self.ecs.create_cluster(clusterName=self.name)
        self.ecs.register_task_definition(
            family=self.name,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            containerDefinitions=[
                {"name": "main", "image": IMAGE, "command": ["python", "-c", program]}
            ],
        )
        self.ecs.create_service(
            cluster=self.name, serviceName=self.name, taskDefinition=self.name, desiredCount=1
        )
        self.scaling.register_scalable_target(
            **self.target, MinCapacity=LEAST, MaxCapacity=MOST, Tags={"Project": "tests"}
        )

    def remove(self) -> None:
        self.scaling.deregister_scalable_target(**self.target)
        self.ecs.delete_service(cluster=self.name, service=self.name, force=True)
        self.ecs.delete_cluster(cluster=self.name)

    def follow(self, metric: str, target: float, *, label: str | None = None) -> None:
        specification = {"PredefinedMetricType": metric}
        if label:
            specification["ResourceLabel"] = label
        self.scaling.put_scaling_policy(
            **self.target,
            PolicyName=metric,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": target,
                "ScaleOutCooldown": 30,
                "ScaleInCooldown": 60,
                "PredefinedMetricSpecification": specification,
            },
        )

    @asynccontextmanager
    async def requests(self, per_minute: float) -> AsyncIterator[None]:
        """What the load balancer counts while the block runs, on one healthy target a task."""

        async def count() -> None:
            counted_s = float(int(time.time()))
            while True:
                await asyncio.sleep(_EVERY_S)
                instants = []
                # However late we are on a busy machine, every instant gets its share.
                while (counted_s := counted_s + _EVERY_S) <= time.time():
                    instants.append(counted_s)
                counted_s -= _EVERY_S
                await asyncio.to_thread(self._put, per_minute * _EVERY_S / 60, instants)

        counting = asyncio.create_task(count())
        try:
            yield
        finally:
            counting.cancel()

    def _put(self, requests: float, instants: list[float]) -> None:
        dimensions = [
            {"Name": "LoadBalancer", "Value": _BALANCER},
            {"Name": "TargetGroup", "Value": _GROUP},
        ]
        values = {"RequestCount": requests, "HealthyHostCount": self.service()["desiredCount"]}
        data = [
            {"MetricName": name, "Value": value, "Dimensions": dimensions, "Timestamp": instant}
            for instant in instants
            for name, value in values.items()
        ]
        if data:
            self.cloudwatch.put_metric_data(Namespace="AWS/ApplicationELB", MetricData=data)

    def service(self) -> dict[str, Any]:
        (found,) = self.ecs.describe_services(cluster=self.name, services=[self.name])["services"]
        return dict(found)

    def activities(self) -> list[dict[str, Any]]:
        """Newest first."""
        answer = self.scaling.describe_scaling_activities(**self.target)
        return list(answer["ScalingActivities"])

    async def has(self, tasks: int, *, within_s: float) -> None:
        def running() -> bool:
            service = self.service()
            return bool(service["desiredCount"] == service["runningCount"] == tasks)

        await until(running, within_s=within_s, every_s=0.5, what=f"{tasks} tasks run")


@pytest.fixture
def scaled(emulator: Emulated) -> Iterator[Scaled]:
    scaled = Scaled(emulator)
    yield scaled
    scaled.remove()


async def test_service_follows_requests_per_target_out_and_in(scaled: Scaled) -> None:
    scaled.start(_IDLE)
    label = f"{_BALANCER}/{_GROUP}"
    scaled.follow("ALBRequestCountPerTarget", 1000, label=label)

    async with scaled.requests(per_minute=1500):
        await scaled.has(2, within_s=_OUT_WITHIN_S)
    async with scaled.requests(per_minute=9000):
        await scaled.has(MOST, within_s=_OUT_WITHIN_S)
    async with scaled.requests(per_minute=30):
        await scaled.has(LEAST, within_s=_IN_WITHIN_S)

    # ECS has stopped tasks before it answers that it will.
    await until(
        lambda: scaled.activities()[0]["Description"] == f"Setting desired count to {LEAST}.",
        within_s=20,
        every_s=0.5,
    )
    assert "ALBRequestCountPerTarget" in scaled.activities()[0]["Cause"]
    assert {each["StatusCode"] for each in scaled.activities()} == {"Successful"}


async def test_service_behind_a_load_balancer_follows_the_requests_it_counts(
    emulator: Emulated,
) -> None:
    scaling = emulator.client("application-autoscaling")
    with cluster(emulator) as ecs:
        balancer = ecs.balancer()
        ecs.service("api", ecs.task_definition(task_cpu="256"), **ecs.balanced(balancer))
        await ecs.stable("api", within_s=90)
        target = {
            "ServiceNamespace": "ecs",
            "ResourceId": f"service/{ecs.name}/api",
            "ScalableDimension": "ecs:service:DesiredCount",
        }
        scaling.register_scalable_target(**target, MinCapacity=LEAST, MaxCapacity=2)
        suffixes = (balancer.arn.split("loadbalancer/")[1], balancer.group.rsplit(":", 1)[1])
        scaling.put_scaling_policy(
            **target,
            PolicyName="requests",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": 60,
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "ALBRequestCountPerTarget",
                    "ResourceLabel": "/".join(suffixes),
                },
            },
        )

        async with requests(balancer.url):
            await until(
                lambda: ecs.described("api")["runningCount"] == 2,
                within_s=_OUT_WITHIN_S,
                every_s=0.5,
                what="a second task runs",
            )
        scaling.deregister_scalable_target(**target)


@asynccontextmanager
async def requests(url: str) -> AsyncIterator[None]:
    """About ten a second while the block runs."""

    async def ask() -> None:
        async with ClientSession() as session:
            while True:
                async with session.get(url) as answer:
                    assert answer.status == 200
                await asyncio.sleep(0.1)

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


async def test_service_scales_out_to_its_limit_on_cpu(scaled: Scaled) -> None:
    scaled.start(_BUSY)
    scaled.follow("ECSServiceAverageCPUUtilization", 5)

    await scaled.has(MOST, within_s=_OUT_WITHIN_S)


async def test_count_outside_the_limits_is_moved_to_them_without_a_policy(scaled: Scaled) -> None:
    scaled.start(_IDLE)

    scaled.scaling.register_scalable_target(**scaled.target, MinCapacity=2)

    await scaled.has(2, within_s=_OUT_WITHIN_S)


def test_targets_and_policies_are_described_as_they_were_put(scaled: Scaled) -> None:
    scaled.start(_IDLE)
    scaled.follow("ECSServiceAverageCPUUtilization", 60)
    api, namespace = scaled.scaling, {"ServiceNamespace": "ecs"}

    (target,) = api.describe_scalable_targets(
        **namespace, ResourceIds=[scaled.target["ResourceId"]]
    )["ScalableTargets"]
    (policy,) = api.describe_scaling_policies(**scaled.target)["ScalingPolicies"]

    assert (target["MinCapacity"], target["MaxCapacity"]) == (LEAST, MOST)
    assert api.list_tags_for_resource(ResourceARN=target["ScalableTargetARN"])["Tags"] == {
        "Project": "tests"
    }
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert (tracking["TargetValue"], tracking["ScaleInCooldown"]) == (60, 60)

    api.delete_scaling_policy(**scaled.target, PolicyName=policy["PolicyName"])
    assert api.describe_scaling_policies(**scaled.target)["ScalingPolicies"] == []


def test_service_that_does_not_exist_is_no_target(scaled: Scaled) -> None:
    scaled.start(_IDLE)
    target = {**scaled.target, "ResourceId": f"service/{scaled.name}/other"}

    with pytest.raises(ClientError, match="ECS service doesn't exist"):
        scaled.scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)


def test_unknown_target_has_no_policy(scaled: Scaled) -> None:
    scaled.start(_IDLE)
    target = {**scaled.target, "ResourceId": f"service/{scaled.name}/other"}

    with pytest.raises(ClientError, match="ObjectNotFoundException"):
        scaled.scaling.deregister_scalable_target(**target)
