"""Names of Cloud Map, resolved inside tasks: each task is an alias on the tasks' network.

MiniStack keeps namespaces, services and instances, but nothing resolves them, and its ECS does not
register tasks. Here a task of a service with `serviceRegistries` has `<name>.<namespace>` as an
alias for as long as its container runs, so a replacement is found at once, and its instance is
registered. Can go when MiniStack does both.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from localstack.emulator.upstream import reads

reads("ministack.services.servicediscovery", source="a6c6ab6a4e7d", by=__name__)

log = logging.getLogger("emulator.cloud_map")


def names_of(task_arn: str) -> list[str]:
    return [
        f"{service['Name']}.{namespace['Name']}" for service, namespace in _registries(task_arn)
    ]


def register(task_arn: str, address: str) -> None:
    from ministack.services import servicediscovery

    for service, _ in _registries(task_arn):
        servicediscovery._register_instance(
            {
                "ServiceId": service["Id"],
                "InstanceId": _instance(task_arn),
                "Attributes": {"AWS_INSTANCE_IPV4": address},
            }
        )


def deregister(task_arn: str) -> None:
    from ministack.services import servicediscovery

    for service, _ in _registries(task_arn):
        servicediscovery._deregister_instance(
            {"ServiceId": service["Id"], "InstanceId": _instance(task_arn)}
        )


def _instance(task_arn: str) -> str:
    return task_arn.rsplit("/", 1)[-1]


def _registries(task_arn: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Services of Cloud Map with their namespaces, in the current account and region."""
    from ministack.services import ecs, servicediscovery

    task = ecs._tasks.get(task_arn) or {}
    cluster = ecs._cluster_name_from_arn(task.get("clusterArn", ""))
    kind, _, name = task.get("group", "").partition(":")
    service = ecs._services.get(f"{cluster}/{name}") if kind == "service" else None
    for registry in (service or {}).get("serviceRegistries") or ():
        found = servicediscovery._services.get(registry["registryArn"].rsplit("/", 1)[-1])
        if found is None:
            log.warning("%s is in no service of Cloud Map: %s", task_arn, registry["registryArn"])
            continue
        namespace = (found.get("DnsConfig") or {}).get("NamespaceId") or found.get("NamespaceId")
        record = servicediscovery._namespaces.get(namespace)
        if record:
            yield found, record
