"""The scheduler of services: keeps their tasks, and rolls deployments out.

Replaces ``ecs._reconcile_service_tasks``, which acts when it is called and knows neither health
checks nor targets, by a loop: `ecs_plan.py` decides, three times a second. With it go
``ecs._make_deployment`` (the first deployment is complete before it starts) and
``ecs._delete_service`` (inactive before its tasks have ended). Can go when MiniStack's roll-outs
wait for health and replace what stops.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from localstack.emulator import ecs_plan, ecs_tasks, engine
from localstack.emulator.ecs_circuit_breaker import Restarts, note_failure, restarts_of
from localstack.emulator.ecs_records import (
    Deployment,
    Service,
    Task,
    runs,
    targets_of,
    tasks_of,
    tell,
    wake,
    woken,
)
from localstack.emulator.load_balancers import load_balancers
from localstack.emulator.serving import Emulator
from localstack.emulator.upstream import replaces

log = logging.getLogger("emulator.ecs")

_EVERY_S = 0.3
_STEADY_S = 2.0
"""Without any check of health, a task that ran this long is ready."""


async def _work(emulator: Emulator) -> None:
    try:
        while not emulator.ending:
            try:
                await asyncio.to_thread(_look_at_all)
            except engine.NO_ANSWER as error:
                log.warning("Docker does not answer as it should: %s", error)
            await asyncio.to_thread(woken.wait, _EVERY_S)
            woken.clear()
        await asyncio.Event().wait()
    finally:
        from ministack.core import container_reaper

        # MiniStack has removed all containers, but a task may have been starting just then.
        container_reaper.reap_all(engine.engine())


def _look_at_all() -> None:
    from ministack.core.responses import request_scope
    from ministack.services import ecs

    ecs_tasks.look_at_all()
    for (account, region, key), service in ecs._services.all_items():
        with request_scope(account, region):
            if service["status"] == "ACTIVE":
                _schedule(key.split("/", 1)[0], service)
            elif service["status"] == "DRAINING" and not list(tasks_of(service)):
                service["status"] = "INACTIVE"
                restarts_of.pop(service["serviceArn"], None)


def _schedule(cluster: str, service: Service) -> None:
    from ministack.services import ecs

    primary = ecs._primary_deployment(service)
    definition = ecs._task_defs.get(ecs._resolve_td_key(service["taskDefinition"]))
    if primary is None or definition is None:
        return
    tasks = list(tasks_of(service))
    for task in tasks:
        _replace_if_unhealthy(service, task)
    live = [task for task in tasks if task["desiredStatus"] == "RUNNING"]
    members = [
        ecs_plan.Member(
            task["taskArn"],
            (ecs._deployment_for_task(service, task) or {}).get("id", ""),
            _is_ready(service, task),
            task["createdAt"],
        )
        for task in live
    ]
    # A failure may have rolled the service back.
    primary = ecs._primary_deployment(service)
    restarts = restarts_of.setdefault(service["serviceArn"], Restarts())
    if any(each.ready and each.deployment == primary["id"] for each in members):
        restarts.failures = 0
        restarts.not_before = 0.0
    configuration = service.get("deploymentConfiguration") or {}
    wanted = ecs_plan.Wanted(
        service["desiredCount"],
        int(configuration.get("minimumHealthyPercent", 100)),
        int(configuration.get("maximumPercent", 200)),
        primary["id"],
    )
    todo = ecs_plan.plan(members, ending=len(tasks) - len(live), wanted=wanted)
    if primary["rolloutState"] != "FAILED":
        _carry_out(cluster, service, primary, todo, live, may_start=_may_start(restarts))
    _drop_ended(service)


def _may_start(restarts: Restarts) -> bool:
    return time.monotonic() >= restarts.not_before


def _carry_out(
    cluster: str,
    service: Service,
    primary: Deployment,
    todo: ecs_plan.Plan,
    live: list[Task],
    *,
    may_start: bool,
) -> None:
    from ministack.services import ecs

    for task in live:
        if task["taskArn"] in todo.stop:
            reason = f"Scaling activity initiated by (deployment {primary['id']})"
            ecs_tasks.stop(task, reason, "ServiceSchedulerInitiated")
    if todo.start and may_start:
        ecs._run_task(
            {
                "cluster": cluster,
                "taskDefinition": service["taskDefinition"],
                "count": todo.start,
                "group": f"service:{service['serviceName']}",
                "startedBy": primary["id"],
                "launchType": service.get("launchType"),
                "capacityProviderStrategy": service.get("capacityProviderStrategy"),
                "platformVersion": service.get("platformVersion", ""),
                "networkConfiguration": service.get("networkConfiguration", {}),
                "enableExecuteCommand": service.get("enableExecuteCommand", False),
                "tags": service.get("tags", [])
                if service.get("propagateTags") == "SERVICE"
                else [],
                "_deploymentId": primary["id"],
            }
        )
        tell(service, f"has started {todo.start} tasks.")
    if todo.complete and primary["rolloutState"] == "IN_PROGRESS":
        primary.update(
            rolloutState="COMPLETED",
            rolloutStateReason=f"ECS deployment {primary['id']} completed.",
            updatedAt=ecs._iso(),
        )
        tell(service, f"(deployment {primary['id']}) deployment completed.")
        tell(service, "has reached a steady state.")
        ecs._refresh_service_state(cluster, f"service:{service['serviceName']}")


def _drop_ended(service: Service) -> None:
    """AWS shows no deployment that has no tasks, but a roll-out needs the one to go back to."""
    used = {task.get("_deployment_id") for task in tasks_of(service)}
    rolling = any(
        each["status"] == "PRIMARY" and each["rolloutState"] == "IN_PROGRESS"
        for each in service["deployments"]
    )
    service["deployments"] = [
        each
        for each in service["deployments"]
        if each["status"] == "PRIMARY"
        or each["id"] in used
        or (rolling and each["rolloutState"] == "COMPLETED")
    ]


def _is_ready(service: Service, task: Task) -> bool:
    since = task.get("_running_since")
    if since is None or not runs(task):
        return False
    states = [load_balancers.health(*target)["state"] for target in targets_of(task)]
    if len(states) < len(service.get("loadBalancers") or ()):
        return False
    checked = _has_health_check(task)
    if checked and task["healthStatus"] != "HEALTHY":
        return False
    if any(state not in {"healthy", "unused"} for state in states):
        return False
    return bool(checked or states or time.monotonic() - since >= _STEADY_S)


def _has_health_check(task: Task) -> bool:
    from ministack.services import ecs

    definition = ecs._task_defs.get(ecs._resolve_td_key(task["taskDefinitionArn"])) or {}
    return any(
        each.get("healthCheck") and each.get("essential", True)
        for each in definition.get("containerDefinitions", ())
    )


def _replace_if_unhealthy(service: Service, task: Task) -> None:
    since = task.get("_running_since")
    grace_s = service.get("healthCheckGracePeriodSeconds") or 0
    if since is None or not runs(task) or time.monotonic() - since < grace_s:
        return
    if task["healthStatus"] == "UNHEALTHY":
        reason = "Task failed container health checks"
    elif any(load_balancers.health(*each)["state"] == "unhealthy" for each in targets_of(task)):
        reason = "Task failed ELB health checks"
    else:
        return
    number = task["taskArn"].rsplit("/", 1)[-1]
    tell(service, f"(task {number}) is unhealthy: {reason}.")
    ecs_tasks.stop(task, reason, "ServiceSchedulerInitiated")
    note_failure(task)


# What is replaced.


@replaces("ministack.services.ecs", "_reconcile_service_tasks", source="16e4d03cbf75")
def _reconcile_service_tasks(*_: object) -> None:
    wake()


@replaces("ministack.services.ecs", "_make_deployment", source="5660a8c0ef36")
def _make_deployment(original: Callable[..., Deployment], *arguments: object) -> Deployment:
    deployment = original(*arguments)
    deployment["rolloutState"] = "IN_PROGRESS"
    deployment["rolloutStateReason"] = f"ECS deployment {deployment['id']} in progress."
    return deployment


@replaces("ministack.services.ecs", "_delete_service", source="3f32aa017e1f")
def _delete_service(original: Callable[..., Any], data: Mapping[str, Any]) -> Any:  # noqa: ANN401
    from ministack.core.responses import json_response
    from ministack.services import ecs

    answer = original(data)
    cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
    name, _ = ecs._resolve_service_ref(data.get("service", "")) or ("", None)
    service = ecs._services.get(f"{cluster}/{name}")
    if service is None or service["status"] != "INACTIVE":
        return answer
    if any(tasks_of(service)):
        service["status"] = "DRAINING"
        wake()
    return json_response({"service": ecs._sanitize(service)})


def install(emulator: Emulator) -> None:
    emulator.run(lambda: _work(emulator))
