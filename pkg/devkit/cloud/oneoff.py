"""A command of the archive, run once, as a task of its own."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from pkg.devkit.cloud.aws import Aws
from pkg.devkit.cloud.logs import Logs
from pkg.devkit.cloud.services import Record, Services
from pkg.devkit.errors import BidkitError
from pkg.devkit.names import ARCHIVAL
from pkg.devkit.signals import Check

_LOOK_EVERY_S = 1.0
_LOGS_WITHIN_S = 20.0
"""After the task has ended. CloudWatch shows what it wrote a moment later."""

_QUIET_S = 2.0
_STARTED_WITHIN_S = 300.0
_COMPLAINS = ("audit: ", "restore: ", "redrive: ")


def is_aside(line: str) -> bool:
    """Whether the command wrote it to standard error. CloudWatch keeps both streams in one."""
    if line.startswith(_COMPLAINS):
        return True
    try:
        message = json.loads(line)
    except ValueError:
        return False
    return isinstance(message, dict) and ({"event", "level"} <= message.keys() or "_aws" in message)


@dataclass(frozen=True, slots=True)
class OneOff:
    aws: Aws
    services: Services

    def run(
        self, family: str, arguments: tuple[str, ...], *, show: Callable[[str], None], check: Check
    ) -> int:
        """The command's exit code, after its output was shown. An interrupt stops the task.

        `family` is that of its task definition, without the system's name.
        """
        worker = self.services.described(f"bidding-system-{ARCHIVAL}")
        command = ["python", "-m", "pkg.archival", *arguments]
        answer = self.aws.ask(
            "ecs",
            "run_task",
            cluster=self.services.cluster,
            launchType="FARGATE",
            taskDefinition=f"bidding-system-{family}",
            networkConfiguration=worker["networkConfiguration"],
            overrides={"containerOverrides": [{"name": "main", "command": command}]},
        )
        if not answer.get("tasks"):
            reasons = [one.get("reason", "no reason given") for one in answer.get("failures", ())]
            raise BidkitError(f"ECS did not run the task: {'; '.join(reasons)}.")
        arn = str(answer["tasks"][0]["taskArn"])
        try:
            task = self._ended(arn, check)
        except BaseException:  # interrupted too: the task would run on, and cost
            self.aws.ask(
                "ecs",
                "stop_task",
                cluster=self.services.cluster,
                task=arn,
                reason="bidkit was interrupted",
            )
            raise
        for line in self._output(family, arn):
            show(line)
        code = task["containers"][0].get("exitCode")
        if code is None:
            raise BidkitError(f"the task did not start: {task.get('stoppedReason', 'unknown')}.")
        return int(code)

    def _ended(self, arn: str, check: Check) -> Record:
        deadline = time.monotonic() + _STARTED_WITHIN_S
        while True:
            check()
            found = self.aws.ask(
                "ecs", "describe_tasks", cluster=self.services.cluster, tasks=[arn]
            )["tasks"]
            task: Record = found[0]
            if task["lastStatus"] == "STOPPED":
                return task
            if task["lastStatus"] != "RUNNING" and time.monotonic() > deadline:
                raise BidkitError(f"the task has not started in {_STARTED_WITHIN_S:g} s.")
            time.sleep(_LOOK_EVERY_S)

    def _output(self, family: str, arn: str) -> list[str]:
        """Read until nothing more has come for a while."""
        logs = Logs(self.aws, self.services)
        group = f"/ecs/bidding-system/{family}"
        deadline = time.monotonic() + _LOGS_WITHIN_S
        lines: list[str] = []
        changed = time.monotonic()
        while time.monotonic() < deadline:
            now = logs.of_task(group, arn)
            if len(now) != len(lines):
                lines, changed = now, time.monotonic()
            elif lines and time.monotonic() - changed > _QUIET_S:
                break
            time.sleep(_LOOK_EVERY_S)
        return lines
