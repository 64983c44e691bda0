"""What AWS' APIs say of the deployed system, as bidkit shows it."""

from datetime import UTC, datetime
from typing import Any

from pkg.devkit.cloud.aws import Aws
from pkg.devkit.cloud.services import Record, Services
from pkg.devkit.cloud.state_dir import Outputs
from pkg.devkit.names import API, BROADCAST, EDGE, NATS, POSTGRES, REDIS, SERVICES
from pkg.devkit.system import ReplicaStatus, ServiceStatus, SystemStatus

NAME = "bidding-system"
"""Of the replication group, the database and the load balancer."""

TARGET_GROUPS = {API: "bidding-api", BROADCAST: "bidding-broadcast"}
PORTS = {API: 8080, BROADCAST: 8081, "archival-worker": 8082, NATS: 4222}
"""Of a task; only AWS' network leads there."""


def system_of(aws: Aws, outputs: Outputs, *, backend: str) -> SystemStatus:
    services = Services(aws, outputs.ecs_cluster_name)
    return SystemStatus(
        backend=backend,
        api_url=outputs.alb_url,
        websocket_url=outputs.ws_url,
        services=(
            *(tasks_of(services, aws, name) for name in SERVICES),
            _redis(aws),
            tasks_of(services, aws, NATS),
            _postgres(aws),
            _edge(aws),
        ),
    )


def tasks_of(services: Services, aws: Aws, part: str) -> ServiceStatus:
    healthy = healthy_targets(aws, TARGET_GROUPS[part]) if part in TARGET_GROUPS else None
    replicas: list[ReplicaStatus] = []
    desired = failed = 0
    for name in services.names(part):
        service = services.described(name)
        desired += service["desiredCount"]
        failed += sum(one.get("failedTasks", 0) for one in service["deployments"])
        replicas += [_replica(part, task, healthy) for task in services.tasks(name)]
    return ServiceStatus(
        service=part,
        kind="store" if part == NATS else "service",
        ready=sum(one.ready for one in replicas),
        desired=desired,
        restarts=failed,
        port=None,
        replicas=tuple(sorted(replicas, key=lambda one: one.name)),
    )


def _replica(part: str, task: Record, healthy: set[str] | None) -> ReplicaStatus:
    """`healthy` are the addresses to which the load balancer sends requests, if it does."""
    host = _address(task)
    phase, why = _phase(task, healthy, host)
    return ReplicaStatus(
        name=replica_name(part, str(task["taskArn"])),
        phase=phase,
        ready=phase == "ready",
        restarts=0,
        host=host or "-",
        port=PORTS[part],
        age_s=_age_s(task.get("startedAt")),
        why=why,
        log=f"bidkit logs {part}",
    )


def _phase(task: Record, healthy: set[str] | None, host: str | None) -> tuple[str, str | None]:
    last = task.get("lastStatus", "")
    if task.get("desiredStatus") == "STOPPED" or last in {"DEACTIVATING", "STOPPING", "STOPPED"}:
        return "stopping", task.get("stoppedReason")
    if last != "RUNNING":
        return "starting", f"ECS has its task {last}"
    health = task.get("healthStatus", "UNKNOWN")
    if health == "UNHEALTHY":
        return "unready", "its health check fails"
    checked = any("healthStatus" in one for one in task.get("containers", ()))
    if health == "UNKNOWN" and checked:
        return "starting", "its health check has not passed yet"
    if healthy is not None and host not in healthy:
        return "unready", "the load balancer does not find it healthy"
    return "ready", None


def replica_name(part: str, arn: str) -> str:
    """`api-gateway-0a1b2c3d`: the first digits of the task's id, as in its logs."""
    return f"{part}-{arn.rpartition('/')[2][:8]}"


def _address(task: Record) -> str | None:
    for attachment in task.get("attachments", ()):
        for detail in attachment.get("details", ()):
            if detail["name"] == "privateIPv4Address":
                return str(detail["value"])
    return None


def healthy_targets(aws: Aws, group: str) -> set[str]:
    """Their addresses."""
    groups = aws.ask("elbv2", "describe_target_groups", Names=[group])["TargetGroups"]
    answer = aws.ask("elbv2", "describe_target_health", TargetGroupArn=groups[0]["TargetGroupArn"])
    return {
        one["Target"]["Id"]
        for one in answer["TargetHealthDescriptions"]
        if one["TargetHealth"]["State"] == "healthy"
    }


def _redis(aws: Aws) -> ServiceStatus:
    answer = aws.ask("elasticache", "describe_replication_groups", ReplicationGroupId=NAME)
    group = answer["ReplicationGroups"][0]
    nodes = group.get("MemberClusters") or [NAME]
    return _store(REDIS, nodes, state=group["Status"], place=_endpoint(group))


def _endpoint(group: Record) -> dict[str, Any]:
    endpoint: dict[str, Any] = group["NodeGroups"][0]["PrimaryEndpoint"]
    return endpoint


def _postgres(aws: Aws) -> ServiceStatus:
    answer = aws.ask("rds", "describe_db_instances", DBInstanceIdentifier=NAME)
    instance = answer["DBInstances"][0]
    return _store(
        POSTGRES,
        [NAME],
        state=instance["DBInstanceStatus"],
        place=instance.get("Endpoint", {}),
        since=instance.get("InstanceCreateTime"),
    )


def _store(
    part: str, nodes: list[str], *, state: str, place: Record, since: object = None
) -> ServiceStatus:
    ready = state == "available"
    replicas = tuple(
        ReplicaStatus(
            name=f"{part}-{number}",
            phase="ready" if ready else "unready",
            ready=ready,
            restarts=0,
            host=str(place.get("Address", "-")),
            port=place.get("Port"),
            age_s=_age_s(since),
            why=None if ready else f"AWS says {state} of {node}",
        )
        for number, node in enumerate(nodes, 1)
    )
    count = len(replicas)
    return ServiceStatus(part, "store", count if ready else 0, count, 0, None, replicas)


def _edge(aws: Aws) -> ServiceStatus:
    balancer = aws.ask("elbv2", "describe_load_balancers", Names=[NAME])["LoadBalancers"][0]
    state = balancer["State"]["Code"]
    ready = state == "active"
    replica = ReplicaStatus(
        name=EDGE,
        phase="ready" if ready else "starting",
        ready=ready,
        restarts=0,
        host=balancer["DNSName"],
        age_s=_age_s(balancer.get("CreatedTime")),
        why=None if ready else f"AWS says {state} of the load balancer",
    )
    return ServiceStatus(EDGE, "edge", int(ready), 1, 0, None, (replica,))


def _age_s(since: object) -> float | None:
    if not isinstance(since, datetime):
        return None
    aware = since if since.tzinfo else since.replace(tzinfo=UTC)
    return max((datetime.now(UTC) - aware).total_seconds(), 0.0)
