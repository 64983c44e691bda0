"""The metrics that policies track, from CloudWatch.

The load balancer puts ``AWS/ApplicationELB RequestCount`` and ``HealthyHostCount`` (dimensions
``LoadBalancer`` and ``TargetGroup``), `localstack.emulator.tasks` puts ``AWS/ECS CPUUtilization``.
"""

from collections.abc import Mapping
from typing import Any

from localstack.emulator.autoscaling.tracking import MINUTES
from localstack.emulator.aws import call

Dimensions = Mapping[str, str]
Minutes = list[float | None]


class TrackedMetrics:
    def __init__(self, cloudwatch: Any, *, minute_s: float) -> None:  # noqa: ANN401 - botocore's
        self._cloudwatch = cloudwatch
        self._minute_s = max(1, round(minute_s))

    async def of(self, tracking: dict[str, Any], resource: str, now_s: float) -> Minutes:
        """What each task bore in each of the last whole minutes; None where nothing is known."""
        specification = tracking["PredefinedMetricSpecification"]
        if specification["PredefinedMetricType"] == "ALBRequestCountPerTarget":
            return await self._requests(specification["ResourceLabel"], now_s)
        _kind, cluster, service = resource.split("/")
        dimensions = {"ClusterName": cluster, "ServiceName": service}
        return await self._minutes("AWS/ECS", "CPUUtilization", dimensions, "Average", now_s)

    async def _requests(self, label: str, now_s: float) -> Minutes:
        """Label: the suffixes of two ARNs, ``app/NAME/ID/targetgroup/NAME/ID``."""
        balancer, separator, group = label.partition("/targetgroup/")
        dimensions = {"LoadBalancer": balancer, "TargetGroup": f"{separator}{group}".lstrip("/")}
        source = "AWS/ApplicationELB"
        counts = await self._minutes(source, "RequestCount", dimensions, "Sum", now_s)
        hosts = await self._minutes(source, "HealthyHostCount", dimensions, "Maximum", now_s)
        return [
            count * 60 / self._minute_s / targets if count is not None and targets else None
            for count, targets in zip(counts, hosts, strict=True)
        ]

    async def _minutes(
        self, namespace: str, name: str, dimensions: Dimensions, statistic: str, now_s: float
    ) -> Minutes:
        end = int(now_s // self._minute_s) * self._minute_s
        starts = [end - self._minute_s * back for back in range(MINUTES, 0, -1)]
        answer = await call(
            self._cloudwatch.get_metric_statistics,
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": text} for key, text in dimensions.items()],
            Period=self._minute_s,
            Statistics=[statistic],
            StartTime=starts[0],
            EndTime=end,
        )
        points = {
            int(each["Timestamp"].timestamp()): each[statistic] for each in answer["Datapoints"]
        }
        return [points.get(each) for each in starts]
