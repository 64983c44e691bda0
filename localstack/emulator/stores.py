"""A store whose container does not start is refused, or has failed.

MiniStack then answers with `localhost` and a port where nothing listens, and Terraform goes on.
Replaces ``elasticache._spawn_redis_container`` with ``elasticache._create_replication_group``, and
``rds._create_db_instance``. Can go when MiniStack reports such failures.
"""

from collections.abc import Callable, Mapping
from typing import Any

from localstack.emulator.upstream import reads, replaces

reads("ministack.services.elasticache", source="2e99a3d3538b", by=__name__)
reads("ministack.services.rds", source="b48b28c98e8e", by=__name__)

Answer = tuple[int, dict[str, str], bytes]


class _NoContainerError(Exception):
    """The store's container did not start. The log says why."""


@replaces("ministack.services.elasticache", "_spawn_redis_container", source="601c641fccc6")
def _spawn_redis_container(
    original: Callable[..., tuple[str, int, str | None]], **settings: object
) -> tuple[str, int, str | None]:
    host, port, container = original(**settings)
    if container is None:
        raise _NoContainerError
    return host, port, container


@replaces("ministack.services.elasticache", "_create_replication_group", source="697186d27c8a")
def _create_replication_group(
    original: Callable[..., Answer], parameters: Mapping[str, Any]
) -> Answer:
    from ministack.services import elasticache

    try:
        return original(parameters)
    except _NoContainerError:
        message = "The emulator could not start the container; its log says why."
        refusal: Answer = elasticache._error("InsufficientCacheClusterCapacity", message, 400)
        return refusal


@replaces("ministack.services.rds", "_create_db_instance", source="5edfd4666b24")
def _create_db_instance(original: Callable[..., Answer], parameters: Mapping[str, Any]) -> Answer:
    from ministack.services import rds

    answer = original(parameters)
    name = rds._p(parameters, "DBInstanceIdentifier")
    instance = rds._instances.get(name) or {}
    if instance.get("DBInstanceStatus") == "available" and not instance["_docker_container_id"]:
        instance["DBInstanceStatus"] = "failed"
    return answer
