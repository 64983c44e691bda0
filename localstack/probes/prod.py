"""Every value of prod that dev does not have: what a probe finds of it on the emulator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localstack.probes.applied import Applied
from localstack.probes.row import Evidence, How, plan

NAME = "bidding-system"
CLUSTER = f"{NAME}-cluster"


@dataclass(frozen=True, slots=True)
class Property:
    how: How
    probe: Callable[[Applied], str]
    evidence: tuple[Evidence, ...]


def _environment(on: Applied) -> str:
    tags = on.client("resourcegroupstaggingapi")
    pages = tags.get_paginator("get_resources").paginate(
        TagFilters=[{"Key": "Environment", "Values": ["prod"]}]
    )
    found = sum(len(page["ResourceTagMappingList"]) for page in pages)
    return f"the tagging API lists {found} resources of prod"


def _zones(on: Applied) -> str:
    subnets = on.client("ec2").describe_subnets(
        Filters=[{"Name": "tag:Project", "Values": [NAME]}]
    )["Subnets"]
    zones = {one["AvailabilityZone"] for one in subnets}
    return f"{len(subnets)} subnets in {len(zones)} zones, of one Docker network"


def _nat_gateways(on: Applied) -> str:
    gateways = on.client("ec2").describe_nat_gateways()["NatGateways"]
    return f"{len(gateways)} described; packets pass through none"


def _retention(on: Applied) -> str:
    groups = on.client("logs").describe_log_groups()["logGroups"]
    days = sorted({one["retentionInDays"] for one in groups})
    return f"{len(groups)} log groups with {_listed(days)} days; nothing expires"


def _redis_node(on: Applied) -> str:
    (container,) = on.containers("elasticache")
    return f"{_group(on)['CacheNodeType']} described; {on.memory(container)}"


def _redis_replicas(on: Applied) -> str:
    described, run = _group(on)["MemberClusters"], on.containers("elasticache")
    return f"{len(described)} nodes described, {len(run)} runs"


def _group(on: Applied) -> Any:  # noqa: ANN401 - boto3's answers
    return on.client("elasticache").describe_replication_groups()["ReplicationGroups"][0]


def _database(on: Applied) -> Any:  # noqa: ANN401
    return on.client("rds").describe_db_instances(DBInstanceIdentifier=NAME)["DBInstances"][0]


def _database_class(on: Applied) -> str:
    (container,) = on.containers("rds")
    return f"{_database(on)['DBInstanceClass']} described; {on.memory(container)}"


def _database_storage(on: Applied) -> str:
    return f"{_database(on)['AllocatedStorage']} GiB described; no limit"


def _database_zones(on: Applied) -> str:
    standby = "a standby" if _database(on)["MultiAZ"] else "no standby"
    return f"{standby} described, {len(on.containers('rds'))} server runs"


def _database_protection(on: Applied) -> str:
    return on.refused(
        "rds", "delete_db_instance", DBInstanceIdentifier=NAME, SkipFinalSnapshot=True
    )


def _backup_days(on: Applied) -> str:
    made = on.client("rds").describe_db_snapshots()["DBSnapshots"]
    return f"{_database(on)['BackupRetentionPeriod']} days described; {len(made)} backups made"


def _immutable(on: Applied) -> str:
    manifest = (
        '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
        '"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":2,'
        '"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},'
        '"layers":[]%s}'
    )
    image = {"repositoryName": f"{NAME}/load-generator", "imageTag": "probe"}
    on.client("ecr").put_image(**image, imageManifest=manifest % "")
    return on.refused("ecr", "put_image", **image, imageManifest=manifest % ',"annotations":{}')


def _keeps_images(on: Applied) -> str:
    """After `_immutable`, whose image it finds and deletes."""
    repository = {"repositoryName": f"{NAME}/load-generator"}
    found = on.refused("ecr", "delete_repository", **repository)
    on.client("ecr").batch_delete_image(**repository, imageIds=[{"imageTag": "probe"}])
    return found


def _balancer(on: Applied) -> str:
    arn: str = on.client("elbv2").describe_load_balancers(Names=[NAME])["LoadBalancers"][0][
        "LoadBalancerArn"
    ]
    return arn


def _balancer_protection(on: Applied) -> str:
    """On one of its own, which would be gone if it is not refused."""
    elb = on.client("elbv2")
    subnets = on.client("ec2").describe_subnets(Filters=[{"Name": "tag:Project", "Values": [NAME]}])
    made = elb.create_load_balancer(
        Name="probe", Subnets=[one["SubnetId"] for one in subnets["Subnets"]]
    )["LoadBalancers"][0]["LoadBalancerArn"]

    def protect(value: str) -> None:
        attribute = {"Key": "deletion_protection.enabled", "Value": value}
        elb.modify_load_balancer_attributes(LoadBalancerArn=made, Attributes=[attribute])

    protect("true")
    found = on.refused("elbv2", "delete_load_balancer", LoadBalancerArn=made)
    if "not refused" not in found:
        protect("false")
        elb.delete_load_balancer(LoadBalancerArn=made)
    return f"described; {found}"


def _access_logs(on: Applied) -> str:
    status = on.request("/health")
    attributes = on.client("elbv2").describe_load_balancer_attributes(
        LoadBalancerArn=_balancer(on)
    )["Attributes"]
    set_ = {one["Key"]: one["Value"] for one in attributes}
    bucket = on.client("s3").list_objects_v2(Bucket=set_["access_logs.s3.bucket"])
    return (
        f"described; after a request (answered {status}) the bucket has "
        f"{bucket['KeyCount']} objects"
    )


def _waf(on: Applied) -> str:
    acl = on.client("wafv2").get_web_acl_for_resource(ResourceArn=_balancer(on))["WebACL"]
    limit = next(
        rule["Statement"]["RateBasedStatement"]["Limit"]
        for rule in acl["Rules"]
        if "RateBasedStatement" in rule["Statement"]
    )
    status = on.request("/health?${jndi:ldap://x.test/a}")
    blocked = "is blocked" if status == _FORBIDDEN else f"passes (answered {status})"
    return f"attached with a limit of {limit}; a known bad input {blocked}"


def _setting(name: str) -> Callable[[Applied], str]:
    def probe(on: Applied) -> str:
        described = on.client("ecs").describe_task_definition(taskDefinition=f"{NAME}-api-gateway")[
            "taskDefinition"
        ]
        given = {
            one["name"]: one["value"] for one in described["containerDefinitions"][0]["environment"]
        }
        return f"tasks get `{name}={given[name]}`"

    return probe


def _nats_cluster(on: Applied) -> str:
    """Each server is healthy only with JetStream, which needs a quorum of the others."""
    names = [f"{NAME}-nats-{number}" for number in (1, 2, 3)]
    ecs = on.client("ecs")
    tasks = [
        task
        for name in names
        for task in ecs.list_tasks(cluster=CLUSTER, serviceName=name)["taskArns"]
    ]
    healthy = [
        task
        for task in ecs.describe_tasks(cluster=CLUSTER, tasks=tasks)["tasks"]
        if task["healthStatus"] == "HEALTHY"
    ]
    led = sum("metadata leader" in on.log(one) for one in on.containers("ecs"))
    return f"{len(healthy)} servers are healthy, {led} have seen JetStream's leader elected"


def _nats_size(on: Applied) -> str:
    return _listed(sorted({on.limits(one) for one in on.containers("ecs")}))


def _services(on: Applied) -> str:
    names = ["api-gateway", "broadcast-service", "archival-worker"]
    services = on.client("ecs").describe_services(
        cluster=CLUSTER, services=[f"{NAME}-{name}" for name in names]
    )["services"]
    wanted = {one["serviceName"]: one["desiredCount"] for one in services}
    counts = ", ".join(str(wanted[f"{NAME}-{name}"]) for name in names)
    targets = on.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="ecs"
    )["ScalableTargets"]
    limits = sorted({one["MaxCapacity"] for one in targets})
    return (
        f"{counts} tasks wanted, scaled up to {_listed(limits)}; "
        "not started, as the probe pushes no images"
    )


def _secret_recovery(on: Applied) -> str:
    """After the destroy."""
    secrets = on.client("secretsmanager").list_secrets(IncludePlannedDeletion=True)["SecretList"]
    kept = [one for one in secrets if one.get("DeletedDate")]
    return f"after `destroy` {len(kept)} secrets can still be restored"


def _final_snapshot(on: Applied) -> str:
    """After the destroy."""
    made = on.client("rds").describe_db_snapshots()["DBSnapshots"]
    names = [one["DBSnapshotIdentifier"] for one in made]
    return f"after `destroy` there is {_listed(names) or 'no snapshot'}"


def _listed(values: list[Any]) -> str:
    return ", ".join(map(str, values))


_FORBIDDEN = 403
_REDIS = plan(
    "prod", "Redis must be cache.r6g.large with a replica, Multi-AZ and automatic fail-over."
)
_POSTGRES = plan(
    "prod",
    "PostgreSQL must be db.r6g.large with 100 GiB, Multi-AZ, protected, "
    "with backups for two weeks.",
)
_EDGE = plan(
    "prod",
    "There must be a NAT gateway in each zone, a WAF, access logs and deletion protection.",
)
_IMAGES = plan("prod", "Images must be tagged with a commit and be immutable.")
_SIZES = plan("wiring", "Tasks must have the configured size.")
_SETTINGS = plan("wiring", "Services must have exactly these settings.")

PROPERTIES: Mapping[str, Property] = {
    "environment": Property(
        How.EMULATED,
        _environment,
        plan("always", "Every resource must have the tags Project, Environment and ManagedBy."),
    ),
    "zones": Property(
        How.STATIC,
        _zones,
        plan("wiring", "Each zone must have its own subnets, without overlapping addresses."),
    ),
    "nat_per_zone": Property(How.STATIC, _nat_gateways, _EDGE),
    "log_retention_days": Property(
        How.STATIC, _retention, plan("wiring", "PostgreSQL's logs must expire like other logs.")
    ),
    "redis_node_type": Property(How.STATIC, _redis_node, _REDIS),
    "redis_replicas": Property(How.STATIC, _redis_replicas, _REDIS),
    "db_instance_class": Property(How.STATIC, _database_class, _POSTGRES),
    "db_storage_gib": Property(How.STATIC, _database_storage, _POSTGRES),
    "db_multi_az": Property(How.STATIC, _database_zones, _POSTGRES),
    "db_deletion_protection": Property(How.EMULATED, _database_protection, _POSTGRES),
    "db_backup_days": Property(How.STATIC, _backup_days, _POSTGRES),
    "ecr_mutable": Property(How.EMULATED, _immutable, _IMAGES),
    "ecr_force_delete": Property(How.EMULATED, _keeps_images, _IMAGES),
    "alb_deletion_protection": Property(How.STATIC, _balancer_protection, _EDGE),
    "alb_access_logs": Property(How.AWS, _access_logs, _EDGE),
    "waf_requests_per_5_min": Property(How.STATIC, _waf, _EDGE),
    "bid_strategy_override": Property(
        How.EMULATED,
        _setting("BID_STRATEGY_OVERRIDE"),
        plan("prod", "Requests must not select their strategy in prod."),
    ),
    "outbox_max_entries": Property(How.EMULATED, _setting("OUTBOX_MAX_ENTRIES"), _SETTINGS),
    "items_max": Property(How.EMULATED, _setting("ITEMS_MAX"), _SETTINGS),
    "nats_clustered": Property(
        How.EMULATED,
        _nats_cluster,
        plan("prod", "NATS must be three servers, each with a copy of the stream."),
    ),
    "nats_size": Property(How.EMULATED, _nats_size, _SIZES),
    "services": Property(
        How.STATIC, _services, (*plan("prod", "There must be at least ten tasks."), *_SIZES)
    ),
}
"""By its name in prod.tfvars; asked while prod is applied."""

AFTERWARDS: Mapping[str, Property] = {
    "secret_recovery_days": Property(
        How.EMULATED,
        _secret_recovery,
        plan("wiring", "Each password must be stored in its own secret."),
    ),
    "db_final_snapshot": Property(
        How.EMULATED,
        _final_snapshot,
        plan("prod", "PostgreSQL must leave a final snapshot even when its protection was lifted."),
    ),
}
"""Asked when prod is destroyed."""
