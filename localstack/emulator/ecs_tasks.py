"""How tasks end: drained first, stopped with their own time-out, removed, exit codes kept.

Replaces ``ecs._stop_task``, which stops a container before its load balancer knows and gives it
five seconds, and ``ecs._watch_task_lifecycle`` with ``ecs._maybe_mark_stopped``, which ask Docker
for each container ten times a second and know no health checks: here one list serves all tasks. Can
go when MiniStack drains targets, honours `stopTimeout` and reports `healthStatus`.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from docker.errors import NotFound

from localstack.emulator import cloud_map, engine
from localstack.emulator.ecs_arguments import stop_timeout_s
from localstack.emulator.ecs_circuit_breaker import note_failure
from localstack.emulator.ecs_records import Task, runs, targets_of, wake
from localstack.emulator.load_balancers import load_balancers
from localstack.emulator.upstream import reads, replaces

reads("ministack.services.ecs_metadata", source="4c338be8e065", by=__name__)

log = logging.getLogger("emulator.ecs")

_LOGS_WITHIN_S = 5.0
_KEPT_S = 3600.0
"""A stopped task can be described for an hour, as on AWS."""
_HEALTH = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)")
_HEALTH_STATUS = {"healthy": "HEALTHY", "unhealthy": "UNHEALTHY"}


def look_at_all() -> None:
    """Notes what Docker says about the containers of all running tasks."""
    from ministack.core.container_reaper import INSTANCE_LABEL, instance_id
    from ministack.core.responses import request_scope
    from ministack.services import ecs

    # First the tasks: a task that starts later is not missed in the list of containers.
    running = [(scope, task) for scope, task in ecs._tasks.all_items() if runs(task)]
    own = ["ministack=ecs", f"{INSTANCE_LABEL}={instance_id()}"]
    containers = {
        each["Id"]: each
        for each in engine.engine().api.containers(all=True, filters={"label": own})
    }
    for (account, region, _), task in running:
        with request_scope(account, region):
            if "_running_since" not in task:
                _begin(task)
            _look_at(task, containers)
    for (account, region, arn), task in ecs._tasks.all_items():
        if task["lastStatus"] != "STOPPED":
            continue
        with request_scope(account, region):
            # Tagged resources are those that exist; the task's own answer keeps its tags.
            ecs._tags.pop(arn, None)
        if time.monotonic() - task.setdefault("_stopped_since", time.monotonic()) > _KEPT_S:
            ecs._tasks.pop_scoped(account, region, arn, None)


def _begin(task: Task) -> None:
    from ministack.services import ecs

    task["_running_since"] = time.monotonic()
    address = ecs._task_ip(task)
    if address:
        cloud_map.register(task["taskArn"], address)
    for target in targets_of(task):
        load_balancers.registers(*target)


def _look_at(task: Task, containers: Mapping[str, Mapping[str, Any]]) -> None:
    essentials = task["_container_essentials"]
    health = []
    ended = []
    for index, identity in enumerate(list(task.get("_docker_ids") or ())):
        found = containers.get(identity)
        record = task["containers"][index]
        if found is None or found["State"] in {"exited", "dead"}:
            if record["lastStatus"] != "STOPPED":
                record["lastStatus"] = "STOPPED"
                record["exitCode"] = _exit_code(identity)
            ended.append(essentials[index])
            continue
        status = _HEALTH.search(found["Status"])
        if status:
            record["healthStatus"] = _HEALTH_STATUS.get(status[1], "UNKNOWN")
            if essentials[index]:
                health.append(record["healthStatus"])
    if health:
        worst = [each for each in ("UNHEALTHY", "UNKNOWN") if each in health]
        task["healthStatus"] = worst[0] if worst else "HEALTHY"
    if any(ended) or len(ended) == len(essentials):
        stop(task, "Essential container in task exited", "EssentialContainerExited")


def _exit_code(identity: str) -> int | None:
    try:
        state = engine.engine().api.inspect_container(identity)["State"]
    except engine.NO_ANSWER:
        return None
    code: int = state["ExitCode"]
    return code


def stop(task: Task, reason: str, code: str) -> None:
    """Returns at once; the rest happens in a thread. A task that already ends is left alone."""
    from ministack.core.concurrency import resource_lock, spawn_background
    from ministack.services import ecs

    with resource_lock("ecs-task", task["taskArn"]):
        if task["desiredStatus"] == "STOPPED":
            return
        task.update(
            desiredStatus="STOPPED", stoppingAt=ecs._iso(), stoppedReason=reason, stopCode=code
        )
        ecs._bump_task_version(task)
    if code == "EssentialContainerExited":
        note_failure(task)
    spawn_background(_end, task, thread_name=f"emulator-ecs-stop-{_number(task)[:8]}")


def _end(task: Task) -> None:
    from ministack.services import ecs, ecs_metadata

    arn = task["taskArn"]
    _note(task, "DEACTIVATING")
    cloud_map.deregister(arn)
    load_balancers.wait_until_drained(targets_of(task))
    _note(task, "STOPPING")
    definition = ecs._task_defs.get(ecs._resolve_td_key(task["taskDefinitionArn"])) or {}
    timeouts = [stop_timeout_s(each) for each in definition.get("containerDefinitions", ())]
    identities = list(task.get("_docker_ids") or ())
    for index, identity in enumerate(identities):
        _stop_container(identity, within_s=timeouts[index])
        record = task["containers"][index]
        if record.get("exitCode") is None:
            record["exitCode"] = _exit_code(identity)
    _let_logs_arrive(task)
    ecs_metadata.set_task_status(arn, known_status="STOPPED", desired_status="STOPPED")
    ecs_metadata.set_all_container_status(arn, "STOPPED")
    for token in task.pop("_metadata_tokens", None) or ():
        ecs_metadata.unregister_token(token)
    _remove(identities)
    task["_docker_ids"] = []
    now = ecs._iso()
    task["executionStoppedAt"], task["stoppedAt"] = now, now
    task["_stopped_since"] = time.monotonic()
    for record in task["containers"]:
        record["lastStatus"] = "STOPPED"
    _note(task, "DEPROVISIONING")
    _note(task, "STOPPED")
    wake()


def _note(task: Task, status: str) -> None:
    from ministack.services import ecs

    task["lastStatus"] = status
    if status in {"DEPROVISIONING", "STOPPED"}:
        ecs._bump_task_version(task)
    cluster = ecs._cluster_name_from_arn(task["clusterArn"])
    ecs._recount_cluster(cluster)
    ecs._refresh_service_state(cluster, task.get("group", ""))


def _stop_container(identity: str, *, within_s: int) -> None:
    try:
        engine.engine().api.stop(identity, timeout=within_s)
    except NotFound:
        pass
    except engine.NO_ANSWER as error:
        log.warning("container %s does not stop, so it is removed: %s", identity[:12], error)


def _let_logs_arrive(task: Task) -> None:
    """The last lines of a container are read before it is removed."""
    name = f"ministack-ecs-awslogs-{_number(task)[:8]}"
    for thread in threading.enumerate():
        if thread.name.startswith(name):
            thread.join(_LOGS_WITHIN_S)


def _remove(identities: Iterable[str]) -> None:
    for identity in identities:
        try:
            engine.engine().api.remove_container(identity, v=True, force=True)
        except NotFound:
            pass
        except engine.NO_ANSWER as error:
            log.warning("container %s is not removed: %s", identity[:12], error)


def _number(task: Mapping[str, Any]) -> str:
    return str(task["taskArn"]).rsplit("/", 1)[-1]


@replaces("ministack.services.ecs", "_stop_task", source="06eb83088bbc")
def _stop_task(_original: Callable[..., Any], data: Mapping[str, Any]) -> Any:  # noqa: ANN401
    from ministack.core.responses import error_response_json, json_response
    from ministack.services import ecs

    cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
    if cluster is None:
        return error_response_json("ClusterNotFoundException", "Cluster not found.", 400)
    task = ecs._resolve_task(data.get("task", ""), cluster)
    if not task:
        message = "The referenced task was not found."
        return error_response_json("InvalidParameterException", message, 400)
    stop(task, data.get("reason") or "Task stopped by user", "UserInitiated")
    return json_response({"task": ecs._sanitize(task)})


@replaces("ministack.services.ecs", "_watch_task_lifecycle", source="96817b678967")
def _watch_task_lifecycle(*_: object) -> None:
    wake()


@replaces("ministack.services.ecs", "_maybe_mark_stopped", source="c9797b050da2")
def _maybe_mark_stopped(*_: object, **__: object) -> None:
    """`look_at_all` does, without being asked."""
