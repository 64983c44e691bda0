"""Metrics of load balancers, put to CloudWatch as AWS does, through its API."""

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localstack.emulator import aws

log = logging.getLogger("emulator.load_balancers")

_NAMESPACE = "AWS/ApplicationELB"
_ERRORS = {"target_5xx": "HTTPCode_Target_5XX_Count", "elb_5xx": "HTTPCode_ELB_5XX_Count"}
"""Put only if there are some, as on AWS."""
_Datum = dict[str, Any]


class Counts:
    """What was counted since the last `take`."""

    EVERY_S = float(os.environ.get("SCALING_MINUTE_S", "60")) / 6
    """AWS puts one value a minute. More often, alarms and scaling see the same sums earlier."""

    def __init__(self) -> None:
        self._before: dict[str, dict[str, Any]] = {}
        self._data: dict[str, list[_Datum]] = {}

    def forget(self, arn: str) -> None:
        self._before.pop(arn, None)

    def note(self, region: str, arn: str, measured: dict[str, Any]) -> None:
        """`measured` is counted from the load balancer's start."""
        before = self._before.get(arn, {})
        self._before[arn] = measured
        self._data.setdefault(region, []).extend(_data(arn, measured, before))

    def take(self) -> dict[str, list[_Datum]]:
        data, self._data = self._data, {}
        return data


def _data(arn: str, measured: dict[str, Any], before: dict[str, Any]) -> Iterator[_Datum]:
    balancer = _dimension("LoadBalancer", arn.split("loadbalancer/", 1)[1])
    yield _datum("RequestCount", measured["requests"] - before.get("requests", 0), balancer)
    for count, metric in _ERRORS.items():
        if more := measured[count] - before.get(count, 0):
            yield _datum(metric, more, balancer)
    yield _datum("ActiveConnectionCount", measured["connections"], balancer)
    for group_arn, group in measured["groups"].items():
        earlier = before.get("groups", {}).get(group_arn, {})
        own = _dimension("TargetGroup", group_arn.rsplit(":", 1)[1])
        for count, metric in _ERRORS.items():
            if more := group[count] - earlier.get(count, 0):
                yield _datum(metric, more, own, balancer)
        states = [each["state"] for each in group["targets"].values()]
        healthy = states.count("healthy")
        yield _datum("HealthyHostCount", healthy, own, balancer)
        yield _datum("UnHealthyHostCount", states.count("unhealthy"), own, balancer)
        requests = group["requests"] - earlier.get("requests", 0)
        yield _datum("RequestCount", requests, own, balancer)
        per_target = requests / max(healthy, 1)
        yield _datum("RequestCountPerTarget", per_target, own)
        yield _datum("RequestCountPerTarget", per_target, own, balancer)
        if requests:
            mean_s = (group["seconds"] - earlier.get("seconds", 0.0)) / requests
            yield _datum("TargetResponseTime", mean_s, own, balancer)


def _dimension(name: str, value: str) -> dict[str, str]:
    return {"Name": name, "Value": value}


def _datum(metric: str, value: float, *dimensions: dict[str, str]) -> _Datum:
    return {"MetricName": metric, "Value": value, "Dimensions": list(dimensions)}


def put(endpoint: str) -> Callable[[Counts], None]:
    def put_all(counts: Counts) -> None:
        for region, data in counts.take().items():
            client = aws.client("cloudwatch", endpoint=endpoint, region=region)
            try:
                client.put_metric_data(Namespace=_NAMESPACE, MetricData=data)
            except (BotoCoreError, ClientError) as error:
                log.warning("metrics of %s are lost: %s", region, error)

    return put_all
