"""CPU, memory and number of ECS tasks as metrics of CloudWatch, which MiniStack doesn't put.

Stands beside MiniStack: it reads the Docker engine's counters of the containers that carry ECS' own
labels (``com.amazonaws.ecs.*``), and uses AWS's own APIs. Can go when MiniStack puts
``AWS/ECS CPUUtilization``, ``MemoryUtilization`` and ``ECS/ContainerInsights RunningTaskCount``.
"""

import asyncio
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import docker
from botocore.exceptions import BotoCoreError, ClientError
from docker.errors import DockerException
from requests import RequestException

from localstack.emulator import aws
from localstack.emulator.serving import Emulator

_CLUSTER, _TASK = "com.amazonaws.ecs.cluster", "com.amazonaws.ecs.task-arn"
_CPU_UNITS = 1024
_MIB = 1 << 20
_SERVICES = 10
"""The most that one DescribeServices takes."""

_NO_ANSWER = (DockerException, RequestException)
"""The Docker SDK passes on the errors of the HTTP library that it uses."""

log = logging.getLogger("emulator.tasks")


def install(emulator: Emulator) -> None:
    minute_s = float(os.environ.get("SCALING_MINUTE_S", "60"))
    ecs = aws.client("ecs", endpoint=emulator.endpoint)
    cloudwatch = aws.client("cloudwatch", endpoint=emulator.endpoint)
    emulator.run(TaskMetrics(ecs, cloudwatch, docker.from_env(), every_s=minute_s / 6).run)


@dataclass(frozen=True, slots=True)
class Usage:
    """Of all containers of a task."""

    cpu_s: float
    """Since they started."""
    memory_bytes: int
    at_s: float

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.cpu_s + other.cpu_s,
            self.memory_bytes + other.memory_bytes,
            max(self.at_s, other.at_s),
        )


class TaskMetrics:
    def __init__(self, ecs: Any, cloudwatch: Any, engine: Any, *, every_s: float) -> None:  # noqa: ANN401 - made at run time
        self._ecs = ecs
        self._cloudwatch = cloudwatch
        self._engine = engine
        self._every_s = every_s
        self._before: dict[str, Usage] = {}
        """By task."""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.put()
            except (BotoCoreError, ClientError, *_NO_ANSWER):
                log.exception("cannot put metrics of tasks; trying again")

    async def put(self) -> None:
        used = await asyncio.to_thread(self._usages)
        data: list[dict[str, Any]] = []
        for cluster, usages in used.items():
            described = await aws.call(
                self._ecs.describe_tasks, cluster=cluster, tasks=list(usages)
            )
            for task in described["tasks"]:
                data += self._of_task(task, usages[task["taskArn"]])
        self._before = {task: usage for tasks in used.values() for task, usage in tasks.items()}
        if data:
            await aws.call(self._cloudwatch.put_metric_data, Namespace="AWS/ECS", MetricData=data)
        counts = [count async for count in self._counts()]
        if counts:
            await aws.call(
                self._cloudwatch.put_metric_data,
                Namespace="ECS/ContainerInsights",
                MetricData=counts,
            )

    def _usages(self) -> dict[str, dict[str, Usage]]:
        """By cluster and task."""
        found: dict[str, dict[str, Usage]] = defaultdict(dict)
        for container in self._engine.api.containers(filters={"label": _TASK}):
            labels = container["Labels"]
            try:
                stats = self._engine.api.stats(container["Id"], stream=False, one_shot=True)
            except _NO_ANSWER:
                continue  # it has ended meanwhile
            usage = Usage(
                stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
                stats["memory_stats"].get("usage", 0),
                time.monotonic(),
            )
            tasks = found[labels[_CLUSTER]]
            before = tasks.get(labels[_TASK])
            tasks[labels[_TASK]] = before + usage if before else usage
        return found

    def _of_task(self, task: dict[str, Any], now: Usage) -> Iterable[dict[str, Any]]:
        kind, _, service = task.get("group", "").partition(":")
        if kind != "service":
            return
        dimensions = _dimensions(task["clusterArn"], service)
        before = self._before.get(task["taskArn"])
        cores = int(task.get("cpu") or 0) / _CPU_UNITS
        if before and cores and now.at_s > before.at_s:
            used = (now.cpu_s - before.cpu_s) / (now.at_s - before.at_s)
            # A container that was replaced starts from 0 again.
            yield _percent("CPUUtilization", max(0.0, used / cores), dimensions)
        memory = int(task.get("memory") or 0) * _MIB
        if memory:
            yield _percent("MemoryUtilization", now.memory_bytes / memory, dimensions)

    async def _counts(self) -> Any:  # noqa: ANN401 - an async iterator of MetricData
        for cluster in await aws.pages(self._ecs.list_clusters, "clusterArns"):
            names = iter(await aws.pages(self._ecs.list_services, "serviceArns", cluster=cluster))
            while some := list(islice(names, _SERVICES)):
                answer = await aws.call(self._ecs.describe_services, cluster=cluster, services=some)
                for service in answer["services"]:
                    yield {
                        "MetricName": "RunningTaskCount",
                        "Value": service["runningCount"],
                        "Unit": "Count",
                        "Dimensions": _dimensions(cluster, service["serviceName"]),
                    }


def _dimensions(cluster: str, service: str) -> list[dict[str, str]]:
    return [
        {"Name": "ClusterName", "Value": cluster.rpartition("/")[2]},
        {"Name": "ServiceName", "Value": service},
    ]


def _percent(name: str, share: float, dimensions: list[dict[str, str]]) -> dict[str, Any]:
    return {"MetricName": name, "Value": 100 * share, "Unit": "Percent", "Dimensions": dimensions}
