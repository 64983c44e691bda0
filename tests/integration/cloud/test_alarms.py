"""Alarms move by what services log, minute by minute (here: by seconds)."""

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from pkg.trials.waiting import until
from tests.integration.cloud.conftest import ALARM_MINUTE_S
from tests.integration.cloud.emulated import Emulated

pytestmark = pytest.mark.timeout(1000)  # builds the image

_MOVES_WITHIN_S = 20 * ALARM_MINUTE_S
SERVICE = "api-gateway"


class Alarm:
    def __init__(self, emulator: Emulated, name: str) -> None:
        self.name = name
        self.metric = f"{name}_total"
        self._cloudwatch = emulator.client("cloudwatch")
        self._logs = emulator.client("logs")
        self._log = {"logGroupName": f"/{name}", "logStreamName": "task"}

    def make(self, **settings: object) -> None:
        self._logs.create_log_group(logGroupName=self._log["logGroupName"])
        self._logs.create_log_stream(**self._log)
        self._cloudwatch.put_metric_alarm(
            **{
                "AlarmName": self.name,
                "Namespace": "BiddingSystem",
                "MetricName": self.metric,
                "Dimensions": [{"Name": "Service", "Value": SERVICE}],
                "Statistic": "Sum",
                "ComparisonOperator": "GreaterThanThreshold",
                "Threshold": 0.0,
                "Period": 60,
                "EvaluationPeriods": 1,
                "TreatMissingData": "notBreaching",
                **settings,
            }
        )

    def remove(self) -> None:
        self._cloudwatch.delete_alarms(AlarmNames=[self.name])
        self._logs.delete_log_group(logGroupName=self._log["logGroupName"])

    def log(self, value: float, *, service: str = SERVICE) -> None:
        """A line as pkg.runtime.emf writes it, among others."""
        now_ms = time.time_ns() // 1_000_000
        directive = {
            "Namespace": "BiddingSystem",
            "Dimensions": [["Service"]],
            "Metrics": [{"Name": self.metric, "Unit": "Count"}],
        }
        line = {
            "_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [directive]},
            "Service": service,
            self.metric: value,
        }
        messages = ['{"event": "a line of another kind"}', json.dumps(line)]
        self._logs.put_log_events(
            **self._log,
            logEvents=[{"timestamp": now_ms, "message": each} for each in messages],
        )

    def described(self) -> dict[str, Any]:
        (alarm,) = self._cloudwatch.describe_alarms(AlarmNames=[self.name])["MetricAlarms"]
        return dict(alarm)

    @property
    def state(self) -> str:
        return str(self.described()["StateValue"])

    async def becomes(self, state: str) -> None:
        await until(
            lambda: self.state == state,
            within_s=_MOVES_WITHIN_S,
            every_s=0.2,
            what=f"{self.name} is {state}",
        )


@pytest.fixture
def alarm(emulator: Emulated) -> Iterator[Alarm]:
    alarm = Alarm(emulator, f"alarm-{uuid4().hex[:8]}")
    yield alarm
    alarm.remove()


async def test_breaching_line_alarms_and_silence_ends_it(alarm: Alarm) -> None:
    alarm.make()
    await alarm.becomes("OK")

    alarm.log(3)
    await alarm.becomes("ALARM")

    await alarm.becomes("OK")


async def test_alarm_on_silence_needs_a_line_to_be_ok(alarm: Alarm) -> None:
    silent = {"Statistic": "SampleCount", "ComparisonOperator": "LessThanThreshold"}
    alarm.make(**silent, Threshold=1.0, EvaluationPeriods=2, TreatMissingData="breaching")
    await alarm.becomes("ALARM")

    alarm.log(0)
    await alarm.becomes("OK")

    await alarm.becomes("ALARM")


async def test_missing_data_is_insufficient_where_it_is_treated_so(alarm: Alarm) -> None:
    alarm.make(TreatMissingData="missing")
    alarm.log(0)
    await alarm.becomes("OK")

    await alarm.becomes("INSUFFICIENT_DATA")


async def test_another_services_lines_do_not_alarm(alarm: Alarm) -> None:
    alarm.make()
    alarm.log(3, service="archival-worker")
    cloudwatch = alarm._cloudwatch

    def extracted() -> bool:
        found = cloudwatch.list_metrics(Namespace="BiddingSystem", MetricName=alarm.metric)
        return bool(found["Metrics"])

    await until(extracted, within_s=_MOVES_WITHIN_S, every_s=0.2)
    await alarm.becomes("OK")
    alarm.log(0)

    history = cloudwatch.describe_alarm_history(AlarmName=alarm.name)["AlarmHistoryItems"]
    assert not any("to ALARM" in each["HistorySummary"] for each in history)


async def test_alarm_is_told_to_its_topic(alarm: Alarm, emulator: Emulated) -> None:
    sns, sqs = emulator.client("sns"), emulator.client("sqs")
    topic = sns.create_topic(Name=alarm.name)["TopicArn"]
    queue = sqs.create_queue(QueueName=alarm.name)["QueueUrl"]
    names = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=names["Attributes"]["QueueArn"])
    alarm.make(AlarmActions=[topic])

    alarm.log(1)
    await alarm.becomes("ALARM")

    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    told = json.loads(json.loads(message["Body"])["Message"])
    assert (told["AlarmName"], told["NewStateValue"]) == (alarm.name, "ALARM")


def test_alarm_is_described_as_it_was_put(alarm: Alarm) -> None:
    settings = {
        "AlarmDescription": "A sentence: with <signs> & accents é.",
        "Period": 300,
        "EvaluationPeriods": 4,
        "DatapointsToAlarm": 3,
        "Statistic": "Maximum",
        "Threshold": 2147483648.0,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
        "AlarmActions": ["arn:aws:sns:us-east-1:000000000000:a"],
        "OKActions": ["arn:aws:sns:us-east-1:000000000000:b"],
        "InsufficientDataActions": ["arn:aws:sns:us-east-1:000000000000:c"],
        "ActionsEnabled": False,
        "Dimensions": [{"Name": "A", "Value": "1"}, {"Name": "B", "Value": "2"}],
    }
    alarm.make(**settings)

    described = alarm.described()

    assert {name: described[name] for name in settings} == settings
