"""ECS services and their tasks: what runs, roll-outs, and the wait for them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pkg.devkit.backend import Say
from pkg.devkit.cloud.aws import Aws
from pkg.devkit.errors import BadArgument, NotReady
from pkg.devkit.names import NATS, SERVICES
from pkg.devkit.signals import Check, no_check

ROLLED_WITHIN_S = 900.0
_LOOK_EVERY_S = 2.0
_SAY_EVERY_S = 15.0
_STEADY = "COMPLETED"
_PREFIX = "bidding-system-"

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Services:
    aws: Aws
    cluster: str

    def names(self, part: str) -> list[str]:
        """The ECS services of one of the system's parts: NATS may be three."""
        if part in SERVICES:
            return [_PREFIX + part]
        arns: list[str] = []
        token: dict[str, str] = {}
        while True:
            answer = self.aws.ask("ecs", "list_services", cluster=self.cluster, **token)
            arns += answer["serviceArns"]
            if not answer.get("nextToken"):
                break
            token = {"nextToken": answer["nextToken"]}
        names = sorted(arn.rpartition("/")[2] for arn in arns)
        return [name for name in names if name.startswith(_PREFIX + NATS)]

    def described(self, name: str) -> Record:
        answer = self.aws.ask("ecs", "describe_services", cluster=self.cluster, services=[name])
        for service in answer["services"]:
            if service["status"] == "ACTIVE":
                found: Record = service
                return found
        raise NotReady(f"the cluster {self.cluster} has no service {name}.")

    def tasks(self, name: str, *, status: str = "RUNNING") -> list[Record]:
        """Those that should run, or have stopped."""
        arns = self.aws.ask(
            "ecs", "list_tasks", cluster=self.cluster, serviceName=name, desiredStatus=status
        )["taskArns"]
        if not arns:
            return []
        found: list[Record] = self.aws.ask(
            "ecs", "describe_tasks", cluster=self.cluster, tasks=arns
        )["tasks"]
        return found

    def definition(self, name: str) -> Record:
        """The task definition that the service runs."""
        arn = self.described(name)["taskDefinition"]
        found: Record = self.aws.ask("ecs", "describe_task_definition", taskDefinition=arn)[
            "taskDefinition"
        ]
        return found

    def limits(self, name: str) -> tuple[int, int] | None:
        """Least and most tasks, between which the service scales itself; None if it doesn't."""
        targets = self.aws.ask(
            "application-autoscaling",
            "describe_scalable_targets",
            ServiceNamespace="ecs",
            ResourceIds=[f"service/{self.cluster}/{name}"],
        )["ScalableTargets"]
        return (targets[0]["MinCapacity"], targets[0]["MaxCapacity"]) if targets else None

    def check_scaling(self, name: str, count: int) -> None:
        """Raises BadArgument if auto scaling would take the number back at once."""
        limits = self.limits(name)
        if limits and not limits[0] <= count <= limits[1]:
            raise BadArgument(
                f"{name} scales itself between {limits[0]} and {limits[1]} tasks; "
                "Terraform's variable `services` sets these bounds."
            )

    def scale(self, name: str, count: int, *, say: Say, check: Check = no_check) -> None:
        self.aws.ask(
            "ecs", "update_service", cluster=self.cluster, service=name, desiredCount=count
        )
        self.wait([name], say=say, check=check)

    def roll(self, names: list[str], *, say: Say, check: Check = no_check) -> None:
        """New tasks of the same definition; old ones stop when the new ones are healthy.

        Raises NotReady if a deployment fails, and says what ECS says of it.
        """
        begun = {}
        for name in names:
            answer = self.aws.ask(
                "ecs",
                "update_service",
                cluster=self.cluster,
                service=name,
                forceNewDeployment=True,
            )
            begun[name] = _primary(answer["service"])["id"]
        self.wait(names, say=say, check=check, begun=begun)

    def wait(
        self,
        names: list[str],
        *,
        say: Say,
        check: Check = no_check,
        begun: Mapping[str, str] | None = None,
        within_s: float = ROLLED_WITHIN_S,
    ) -> None:
        """Until each has as many tasks as it should, all ready, of one completed deployment:
        that of `begun`, if given. Raises NotReady.
        """
        waiting, deadline = list(names), time.monotonic() + within_s
        said = time.monotonic()
        while waiting:
            check()
            for name in list(waiting):
                service = self.described(name)
                self._refuse_failure(service, (begun or {}).get(name))
                if is_steady(service):
                    waiting.remove(name)
                    say(f"{name} runs {service['runningCount']} of {service['desiredCount']} tasks")
            if not waiting:
                return
            now = time.monotonic()
            if now > deadline:
                raise NotReady(
                    f"{', '.join(waiting)} not steady after {within_s:g} s."
                    + "".join(self.why(name) for name in waiting)
                )
            if now - said > _SAY_EVERY_S:
                said = now
                say(f"waiting for {', '.join(waiting)}")
            time.sleep(_LOOK_EVERY_S)

    def _refuse_failure(self, service: Record, begun: str | None) -> None:
        """ECS goes back to the deployment before, which is steady too."""
        for deployment in service["deployments"]:
            failed = deployment.get("rolloutState") == "FAILED"
            if begun and deployment["id"] == begun and failed:
                reason = deployment.get("rolloutStateReason", "no reason given")
                raise NotReady(
                    f"the deployment of {service['serviceName']} failed: {reason}."
                    f"{self.why(service['serviceName'])}"
                )
        if begun and is_steady(service) and _primary(service)["id"] != begun:
            raise NotReady(
                f"the deployment of {service['serviceName']} failed and was rolled back."
                f"{self.why(service['serviceName'])}"
            )

    def why(self, name: str) -> str:
        """The last reason that ECS gives for a task that is not there."""
        stopped = self.tasks(name, status="STOPPED")
        if not stopped:
            events = self.described(name).get("events", [])
            return f" ECS says: {events[0]['message']}" if events else ""
        last = max(stopped, key=lambda task: str(task.get("stoppedAt", "")))
        reasons = [last.get("stoppedReason", "")] + [
            one.get("reason", "") for one in last.get("containers", ())
        ]
        return f" Its last task stopped: {'; '.join(text for text in reasons if text)}."


def is_steady(service: Record) -> bool:
    deployments = service["deployments"]
    return (
        len(deployments) == 1
        and service["runningCount"] == service["desiredCount"]
        and service.get("pendingCount", 0) == 0
        and deployments[0].get("rolloutState") == _STEADY
    )


def _primary(service: Record) -> Record:
    found: Record = next(one for one in service["deployments"] if one["status"] == "PRIMARY")
    return found
