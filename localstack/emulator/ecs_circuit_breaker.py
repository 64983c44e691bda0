"""The circuit breaker of deployments, and pauses between starts of a task that keeps failing.

Replaces ``ecs._record_service_task_failure``, whose thresholds it keeps: it also learns of tasks
that are unhealthy, and a deployment that failed leaves the answer when its tasks have ended. Goes
with `ecs_services.py`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localstack.emulator.ecs_records import Deployment, Service, Task, service_of, tell, wake
from localstack.emulator.upstream import replaces

_LONGEST_PAUSE_S = 15.0


@dataclass(slots=True)
class Restarts:
    failures: int = 0
    not_before: float = 0.0

    def failed(self) -> None:
        pause = min(2.0 ** (self.failures - 1), _LONGEST_PAUSE_S) if self.failures else 0.0
        self.failures += 1
        self.not_before = time.monotonic() + pause


restarts_of: dict[str, Restarts] = {}
"""By ARN of service."""


def note_failure(task: Task) -> None:
    """A task did not start, ended by itself or is unhealthy."""
    from ministack.core.concurrency import resource_lock
    from ministack.services import ecs

    service = service_of(task)
    if service is None or service["status"] != "ACTIVE":
        return
    restarts_of.setdefault(service["serviceArn"], Restarts()).failed()
    with resource_lock("emulator-ecs-service", service["serviceArn"]):
        deployment = ecs._deployment_for_task(service, task)
        if (
            deployment is None
            or deployment["status"] != "PRIMARY"
            or deployment["rolloutState"] != "IN_PROGRESS"
        ):
            return
        deployment["failedTasks"] += 1
        deployment["updatedAt"] = ecs._iso()
        configuration = service.get("deploymentConfiguration") or {}
        breaker = configuration.get("deploymentCircuitBreaker") or {}
        if breaker.get("enable") and deployment["failedTasks"] >= ecs._circuit_breaker_threshold(
            service
        ):
            _fail(service, deployment, roll_back=bool(breaker.get("rollback")))
    wake()


def _fail(service: Service, deployment: Deployment, *, roll_back: bool) -> None:
    from ministack.services import ecs

    deployment.update(
        rolloutState="FAILED",
        rolloutStateReason="ECS deployment circuit breaker: tasks failed to start.",
        desiredCount=0,
    )
    tell(service, f"(deployment {deployment['id']}) deployment failed: tasks failed to start.")
    earlier = next(
        (each for each in service["deployments"] if each["rolloutState"] == "COMPLETED"), None
    )
    if not roll_back or earlier is None:
        return
    deployment["status"] = "ACTIVE"
    earlier.update(
        status="PRIMARY",
        desiredCount=service["desiredCount"],
        rolloutState="IN_PROGRESS",
        rolloutStateReason=f"ECS deployment circuit breaker: rolling back to {earlier['id']}.",
        failedTasks=0,
        updatedAt=ecs._iso(),
    )
    service["taskDefinition"] = earlier["taskDefinition"]
    service["deployments"].remove(earlier)
    service["deployments"].insert(0, earlier)
    restarts_of.pop(service["serviceArn"], None)
    tell(service, f"rolling back to deployment {earlier['id']}.")


@replaces("ministack.services.ecs", "_record_service_task_failure", source="1f0fff5d229f")
def _record_service_task_failure(
    _original: Callable[..., Any], task: Task, *, digest_resolution_failed: bool = False
) -> None:
    if not digest_resolution_failed:  # then the pull fails too, and counts by itself
        note_failure(task)
