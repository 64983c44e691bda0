"""Metrics from log lines of the Embedded Metric Format, as CloudWatch Logs extracts them."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localstack.emulator.aws import call, pages

EVERY_S = 2.0

_DATA = 500
"""MetricData in one PutMetricData."""
_EVENTS = 1000

log = logging.getLogger("emulator.metrics")

Datum = dict[str, Any]


def data_of(line: str) -> Iterator[tuple[str, Datum]]:
    """Namespaces and MetricData of a line; none if it isn't of the format."""
    if '"_aws"' not in line:
        return
    try:
        document = json.loads(line)
        described = document["_aws"]
        for directive in described["CloudWatchMetrics"]:
            for metric in directive["Metrics"]:
                for names in directive["Dimensions"]:
                    yield (
                        directive["Namespace"],
                        {
                            "MetricName": metric["Name"],
                            "Value": float(document[metric["Name"]]),
                            "Unit": metric.get("Unit", "None"),
                            "Timestamp": described["Timestamp"] / 1000,
                            "Dimensions": [
                                {"Name": name, "Value": str(document[name])} for name in names
                            ],
                        },
                    )
    except (ValueError, KeyError, TypeError):
        # CloudWatch, too, keeps such a line as a log line only.
        return


class Extraction:
    def __init__(self, logs: Any, cloudwatch: Any) -> None:  # noqa: ANN401 - botocore's
        self._logs = logs
        self._cloudwatch = cloudwatch
        self._read_to: dict[tuple[str, str], str] = {}
        """Tokens by log group and stream."""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.extract()
            except (BotoCoreError, ClientError):
                log.exception("cannot extract metrics; trying again")

    async def extract(self) -> None:
        seen: set[tuple[str, str]] = set()
        for group in await pages(self._logs.describe_log_groups, "logGroups"):
            name = group["logGroupName"]
            for stream in await pages(
                self._logs.describe_log_streams, "logStreams", logGroupName=name
            ):
                seen.add((name, stream["logStreamName"]))
        for group, stream in seen:
            await self._read(group, stream)
        self._read_to = {key: token for key, token in self._read_to.items() if key in seen}

    async def _read(self, group: str, stream: str) -> None:
        while True:
            before = self._read_to.get((group, stream))
            answer = await call(
                self._logs.get_log_events,
                logGroupName=group,
                logStreamName=stream,
                startFromHead=True,
                limit=_EVENTS,
                **({"nextToken": before} if before else {}),
            )
            await self._put([each["message"] for each in answer["events"]])
            # Only now: lines that could not be put are read again.
            self._read_to[group, stream] = answer["nextForwardToken"]
            if len(answer["events"]) < _EVENTS:
                return

    async def _put(self, lines: list[str]) -> None:
        by_namespace: dict[str, list[Datum]] = {}
        for line in lines:
            for namespace, datum in data_of(line):
                by_namespace.setdefault(namespace, []).append(datum)
        for namespace, data in by_namespace.items():
            for start in range(0, len(data), _DATA):
                await call(
                    self._cloudwatch.put_metric_data,
                    Namespace=namespace,
                    MetricData=data[start : start + _DATA],
                )
