"""What the scheduler reads of MiniStack's records of services and tasks, and how it is woken."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from localstack.emulator.upstream import reads

reads("ministack.services.ecs", source="3c51ef1ea8c7", by=__name__)

Service = dict[str, Any]
Deployment = dict[str, Any]
Task = dict[str, Any]

_EVENTS = 100

woken = threading.Event()


def wake() -> None:
    """Something changed: the scheduler looks at once."""
    woken.set()


def runs(task: Mapping[str, Any]) -> bool:
    return bool(task["lastStatus"] == "RUNNING" and task["desiredStatus"] == "RUNNING")


def tasks_of(service: Mapping[str, Any]) -> Iterator[Task]:
    """Those that have not ended."""
    from ministack.services import ecs

    group = f"service:{service['serviceName']}"
    for task in list(ecs._tasks.values()):
        if (
            task.get("group") == group
            and task["clusterArn"] == service["clusterArn"]
            and task["lastStatus"] != "STOPPED"
        ):
            yield task


def targets_of(task: Mapping[str, Any]) -> list[tuple[str, str]]:
    """ARN of each target group that its service registers it in, and `address:port`."""
    from ministack.services import ecs

    address = ecs._task_ip(task)
    service = service_of(task)
    if service is None or not address:
        return []
    return [
        (each["targetGroupArn"], f"{address}:{each['containerPort']}")
        for each in service.get("loadBalancers") or ()
        if each.get("targetGroupArn")
    ]


def service_of(task: Mapping[str, Any]) -> Service | None:
    from ministack.services import ecs

    kind, _, name = task.get("group", "").partition(":")
    cluster = ecs._cluster_name_from_arn(task["clusterArn"])
    service: Service | None = ecs._services.get(f"{cluster}/{name}")
    return service if kind == "service" else None


def tell(service: Service, what: str) -> None:
    from ministack.core.responses import new_uuid
    from ministack.services import ecs

    message = f"(service {service['serviceName']}) {what}"
    service["events"].insert(0, {"id": new_uuid(), "createdAt": ecs._iso(), "message": message})
    del service["events"][_EVENTS:]
