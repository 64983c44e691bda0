"""Application Auto Scaling, which MiniStack doesn't have: the API, and a loop that scales.

Stands beside MiniStack: requests of this API never reach it, and the loop uses only AWS's own APIs
(ECS, CloudWatch). Can go when MiniStack scales ECS services by target tracking.

Only ECS services and target tracking, without the two alarms that AWS shows for each policy.
"""

import os

from localstack.emulator import aws
from localstack.emulator.autoscaling.api import PREFIX, ScalingApi
from localstack.emulator.autoscaling.control import Control
from localstack.emulator.autoscaling.metrics import TrackedMetrics
from localstack.emulator.autoscaling.registry import Registry
from localstack.emulator.json_api import JsonApi
from localstack.emulator.serving import Emulator


def install(emulator: Emulator) -> None:
    registry: Registry = {}
    ecs = aws.client("ecs", endpoint=emulator.endpoint)
    cloudwatch = aws.client("cloudwatch", endpoint=emulator.endpoint)
    minute_s = float(os.environ.get("SCALING_MINUTE_S", "60"))

    async def exists(resource: str) -> bool:
        _kind, cluster, service = resource.split("/")
        found = await aws.call(ecs.describe_services, cluster=cluster, services=[service])
        return any(each["status"] == "ACTIVE" for each in found["services"])

    emulator.wrap(JsonApi(PREFIX, ScalingApi(registry, exists=exists).actions))
    metrics = TrackedMetrics(cloudwatch, minute_s=minute_s)
    emulator.run(Control(registry, metrics, ecs, minute_s=minute_s).run)
