"""CloudWatch alarms: metrics from log lines, and states by period, dimensions and missing data.

Stands beside MiniStack and uses only AWS's own APIs (CloudWatch, Logs). Replaces `_evaluate_alarm`
by nothing: MiniStack judges an alarm at each PutMetricData by all dimensions of its metric at once,
over one period as long as all of them, and never by missing data. Can go when MiniStack evaluates
alarms by these, and extracts metrics of the Embedded Metric Format.
"""

import os
from collections.abc import Callable

from localstack.emulator import aws
from localstack.emulator.alarms.evaluation import Evaluation
from localstack.emulator.alarms.extraction import Extraction
from localstack.emulator.serving import Emulator
from localstack.emulator.upstream import replaces


@replaces("ministack.services.cloudwatch", "_evaluate_alarm", source="a0b0acd3d432")
def _evaluate_alarm(_original: Callable[..., None], _alarm: dict[str, object]) -> None:
    """The evaluation beside MiniStack does it."""


def install(emulator: Emulator) -> None:
    cloudwatch = aws.client("cloudwatch", endpoint=emulator.endpoint)
    logs = aws.client("logs", endpoint=emulator.endpoint)
    minute_s = float(os.environ.get("ALARM_MINUTE_S", "60"))
    emulator.run(Extraction(logs, cloudwatch).run)
    emulator.run(Evaluation(cloudwatch, minute_s=minute_s).run)
