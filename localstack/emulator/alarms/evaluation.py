"""Moves alarms between their states."""

import asyncio
import logging
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localstack.emulator.alarms.states import LOOK_BACK, Rule, state_of
from localstack.emulator.aws import call, pages

_QUERIES = 500
"""The most that one GetMetricData takes."""

log = logging.getLogger("emulator.alarms")


class Evaluation:
    def __init__(self, cloudwatch: Any, *, minute_s: float) -> None:  # noqa: ANN401 - botocore's
        """A `minute_s` below 60 shortens all periods alike, and judges them more often."""
        self._cloudwatch = cloudwatch
        self._minute_s = minute_s

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._minute_s / 6)
            try:
                await self.evaluate(time.time())
            except (BotoCoreError, ClientError):
                log.exception("cannot evaluate alarms; trying again")

    async def evaluate(self, now_s: float) -> None:
        alarms = [
            each
            for each in await pages(self._cloudwatch.describe_alarms, "MetricAlarms")
            if "MetricName" in each and "Statistic" in each
        ]
        for start in range(0, len(alarms), _QUERIES):
            await self._judge(alarms[start : start + _QUERIES], now_s)

    async def _judge(self, alarms: list[dict[str, Any]], now_s: float) -> None:
        longest = max(self._seconds(each) * (_periods(each) + 1) for each in alarms)
        answer = await call(
            self._cloudwatch.get_metric_data,
            MetricDataQueries=[
                {
                    "Id": f"alarm{number}",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": alarm["Namespace"],
                            "MetricName": alarm["MetricName"],
                            "Dimensions": alarm.get("Dimensions", []),
                        },
                        "Period": self._seconds(alarm),
                        "Stat": alarm["Statistic"],
                    },
                }
                for number, alarm in enumerate(alarms)
            ],
            StartTime=now_s - longest,
            EndTime=now_s,
        )
        results = {each["Id"]: each for each in answer["MetricDataResults"]}
        for number, alarm in enumerate(alarms):
            result = results[f"alarm{number}"]
            points = dict(
                zip(
                    (int(each.timestamp()) for each in result["Timestamps"]),
                    result["Values"],
                    strict=True,
                )
            )
            await self._move(alarm, points, now_s)

    async def _move(self, alarm: dict[str, Any], points: dict[int, float], now_s: float) -> None:
        period_s = self._seconds(alarm)
        ended = int(now_s // period_s) * period_s
        starts = [ended - period_s * back for back in range(_periods(alarm), 0, -1)]
        values = [points.get(each) for each in starts]
        rule = Rule(
            alarm["ComparisonOperator"],
            alarm["Threshold"],
            periods=alarm["EvaluationPeriods"],
            to_alarm=alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]),
            missing=alarm.get("TreatMissingData", "missing"),
        )
        state = state_of(values, rule, before=alarm["StateValue"])
        if state != alarm["StateValue"]:
            shown = ", ".join("missing" if each is None else f"{each:g}" for each in values)
            reason = f"{alarm['Statistic']} {shown}; {rule.comparison} {rule.threshold:g}"
            await call(
                self._cloudwatch.set_alarm_state,
                AlarmName=alarm["AlarmName"],
                StateValue=state,
                StateReason=reason,
            )

    def _seconds(self, alarm: dict[str, Any]) -> int:
        period_s: int = alarm["Period"]
        return max(1, round(period_s * self._minute_s / 60))


def _periods(alarm: dict[str, Any]) -> int:
    periods: int = alarm["EvaluationPeriods"]
    return periods + LOOK_BACK
