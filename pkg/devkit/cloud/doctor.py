"""The guide's troubleshooting (terraform/README.md), asked of what is deployed.

Each check is named as its row there; a test compares the two lists.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pkg.devkit.cloud import release
from pkg.devkit.cloud.aws import Aws, AwsRefused, require_boto3
from pkg.devkit.cloud.logs import Logs
from pkg.devkit.cloud.place import NoRegion, WrongAccount, of_account
from pkg.devkit.cloud.services import Record, Services
from pkg.devkit.cloud.state_dir import Outputs, System
from pkg.devkit.cloud.status import NAME, TARGET_GROUPS, healthy_targets
from pkg.devkit.cloud.terraform import missing_passwords
from pkg.devkit.docker_cli import engine_version
from pkg.devkit.docker_cli import reason as without_advice
from pkg.devkit.errors import BadArgument, BidkitError, MissingServer, NotRunning
from pkg.devkit.names import API, ARCHIVAL, BROADCAST, NATS, SERVICES

Finding = tuple[str, bool, str]
"""Subject, whether it is well, and what was found."""

_LOGS_OF_S = 900
_PING_EVERY_S = 54
_LEAST_TASKS = 1


@dataclass(frozen=True, slots=True)
class Deployed:
    """A system whose account has been checked."""

    system: System
    outputs: Outputs
    aws: Aws

    @property
    def services(self) -> Services:
        return Services(self.aws, self.outputs.ecs_cluster_name)

    def each(self) -> Iterator[Record]:
        for part in (*SERVICES, NATS):
            for name in self.services.names(part):
                yield self.services.described(name)

    def environment(self, part: str) -> dict[str, str]:
        definition = self.services.definition(self.services.names(part)[0])
        container = definition["containerDefinitions"][0]
        return {one["name"]: one["value"] for one in container.get("environment", ())}


Check = Callable[[Deployed], str | None]
"""What is wrong, as a sentence without a full stop; None if nothing is."""


def _tasks_do_not_start(on: Deployed) -> str | None:
    short = [
        f"{one['serviceName']} has {one['runningCount']} of {one['desiredCount']}:"
        f"{on.services.why(one['serviceName'])}"
        for one in on.each()
        if one["runningCount"] < one["desiredCount"]
    ]
    return "; ".join(short) or None


def _stays_at_none(on: Deployed) -> str | None:
    given_up = [
        str(one["serviceName"])
        for one in on.each()
        if one["desiredCount"] >= _LEAST_TASKS and not one["runningCount"] and _has_failed(one)
    ]
    rolled = " ".join(name.removeprefix("bidding-system-") for name in given_up)
    return f"ECS gave {', '.join(given_up)} up: `bidkit restart {rolled}`" if given_up else None


def _runs_old_code(on: Deployed) -> str | None:
    old = [str(one["serviceName"]) for one in on.each() if _has_failed(one)]
    if old:
        return f"the last deployment of {', '.join(old)} failed and was rolled back"
    differing = [
        str(one["serviceName"])
        for one in on.each()
        for task in on.services.tasks(str(one["serviceName"]))
        if task["taskDefinitionArn"] != one["taskDefinition"]
    ]
    listed = ", ".join(dict.fromkeys(differing))
    return f"tasks of {listed} run an older definition" if differing else None


def _has_failed(service: Record) -> bool:
    return any(one.get("rolloutState") == "FAILED" for one in service["deployments"])


def _are_replaced(on: Deployed) -> str | None:
    found = []
    for one in on.each():
        name = str(one["serviceName"])
        ended = sum(deployment.get("failedTasks", 0) for deployment in one["deployments"])
        unhealthy = [
            task for task in on.services.tasks(name) if task.get("healthStatus") == "UNHEALTHY"
        ]
        if ended or unhealthy:
            found.append(f"{name}: {ended} failed, {len(unhealthy)} unhealthy")
    return "; ".join(found) or None


def _cannot_reach_postgres(on: Deployed) -> str | None:
    url = on.environment(ARCHIVAL).get("POSTGRES_URL", "")
    wrong = [
        f"POSTGRES_URL lacks {text}"
        for text in (on.outputs.rds_endpoint, "sslmode=require")
        if text not in url
    ]
    return "; ".join([*wrong, *_refused(on, "postgres", [ARCHIVAL], 5432)]) or None


def _cannot_reach_redis(on: Deployed) -> str | None:
    expected = f"rediss://{on.outputs.redis_endpoint}:"
    wrong = [
        f"REDIS_URL of {part} does not begin with {expected}"
        for part in SERVICES
        if not on.environment(part).get("REDIS_URL", "").startswith(expected)
    ]
    return "; ".join([*wrong, *_refused(on, "redis", list(SERVICES), 6379)]) or None


def _refused(on: Deployed, store: str, parts: list[str], port: int) -> list[str]:
    """The parts that no rule of the store's group admits."""
    groups = on.aws.ask(
        "ec2",
        "describe_security_groups",
        Filters=[{"Name": "group-name", "Values": [f"{NAME}-{name}" for name in (store, *parts)]}],
    )["SecurityGroups"]
    ids = {one["GroupName"]: one["GroupId"] for one in groups}
    own = f"{NAME}-{store}"
    if own not in ids:
        return [f"there is no group {own}"]
    rules = on.aws.ask(
        "ec2",
        "describe_security_group_rules",
        Filters=[{"Name": "group-id", "Values": [ids[own]]}],
    )["SecurityGroupRules"]
    admitted = {
        rule.get("ReferencedGroupInfo", {}).get("GroupId")
        for rule in rules
        if not rule["IsEgress"] and rule["FromPort"] <= port <= rule["ToPort"]
    }
    return [
        f"group {own} does not admit {NAME}-{part} on {port}"
        for part in parts
        if ids.get(f"{NAME}-{part}") not in admitted
    ]


def _another_authority(on: Deployed) -> str | None:
    since_ms = int((time.time() - _LOGS_OF_S) * 1000)
    found = []
    for group in Logs(on.aws, on.services).groups(SERVICES):
        answer = on.aws.ask(
            "logs",
            "filter_log_events",
            logGroupName=group.name,
            startTime=since_ms,
            filterPattern='"CERTIFICATE_VERIFY_FAILED"',
            limit=1,
        )
        if answer["events"]:
            found.append(group.part)
    return f"in the last 15 minutes in the log of {', '.join(found)}" if found else None


def _no_healthy_target(on: Deployed) -> str | None:
    without = [
        part for part in (API, BROADCAST) if not healthy_targets(on.aws, TARGET_GROUPS[part])
    ]
    return f"{' and '.join(without)} has no healthy target" if without else None


def _closes_silent_viewers(on: Deployed) -> str | None:
    balancer = on.aws.ask("elbv2", "describe_load_balancers", Names=[NAME])["LoadBalancers"][0]
    attributes = on.aws.ask(
        "elbv2", "describe_load_balancer_attributes", LoadBalancerArn=balancer["LoadBalancerArn"]
    )["Attributes"]
    idle_s = {one["Key"]: one["Value"] for one in attributes}.get("idle_timeout.timeout_seconds")
    if idle_s is not None and int(idle_s) > _PING_EVERY_S:
        return None
    return f"the load balancer closes after {idle_s} s, pings come every {_PING_EVERY_S} s"


def _waits_for_maintenance(on: Deployed) -> str | None:
    database = on.aws.ask("rds", "describe_db_instances", DBInstanceIdentifier=NAME)
    pending: Mapping[str, object] = database["DBInstances"][0].get("PendingModifiedValues") or {}
    names = ", ".join(sorted(pending))
    return f"PostgreSQL waits for its maintenance window: {names}" if pending else None


def _secret_is_to_be_deleted(on: Deployed) -> str | None:
    secrets = on.aws.ask(
        "secretsmanager",
        "list_secrets",
        IncludePlannedDeletion=True,
        Filters=[{"Key": "name", "Values": [f"{NAME}/"]}],
    )["SecretList"]
    names = sorted(one["Name"] for one in secrets if one.get("DeletedDate"))
    return f"scheduled for deletion: {', '.join(names)}" if names else None


def _pushes_elsewhere(on: Deployed) -> str | None:
    place, port = on.system.place, on.system.port
    commands = release.parse(on.outputs.deployment_commands)
    try:
        release.check_registry(commands, place, f"localhost:{port}" if port else None)
    except BidkitError as error:
        return str(error).removesuffix(".")
    return None


CHECKS: Mapping[str, Check] = {
    "tasks do not start": _tasks_do_not_start,
    "a service stays at 0 tasks after the first apply": _stays_at_none,
    "a deployment is stable, but the old code runs": _runs_old_code,
    "tasks start and are replaced": _are_replaced,
    "the worker cannot reach RDS": _cannot_reach_postgres,
    "CERTIFICATE_VERIFY_FAILED in a service's log": _another_authority,
    "Redis errors, 503 redis_unavailable": _cannot_reach_redis,
    "503 from the load balancer itself": _no_healthy_target,
    "WebSockets end after a minute of silence": _closes_silent_viewers,
    "every plan wants to change the same node type or instance class": _waits_for_maintenance,
    "apply: a secret with this name is scheduled for deletion": _secret_is_to_be_deleted,
    "Set registry and emulated together": _pushes_elsewhere,
}
"""Of what is deployed."""

BEFORE = (
    "No valid credential sources found",
    "No value for required variable, many times",
    "AWS account ID not allowed",
    "This account and the variable emulated contradict each other",
)
"""Of what a deployment needs."""

EXPECTED = ("a plan wants to change desired counts",)
"""Nothing to check: the guide says when it is as it should be."""


def needs(*, account: bool, environment: Mapping[str, str]) -> list[Finding]:
    """What a deployment needs of this machine, and on an account of its environment."""
    found = [_tool("terraform"), _engine(), _library()]
    if account:
        try:
            of_account(environment)
            found.append(("environment", True, "means AWS"))
        except NoRegion as error:
            found.append(("environment", False, str(error)))
        except BadArgument as error:
            found.append((BEFORE[3], False, str(error)))
        missing = missing_passwords(environment)
        says = f"export {' and '.join(missing)}" if missing else "passwords are given"
        found.append((BEFORE[1], not missing, says))
    return found


def examine(find: Callable[[], Deployed], *, account: bool) -> list[Finding]:
    found = needs(account=account, environment=os.environ)
    try:
        deployed = find()
    except BadArgument:
        return found  # `needs` has said it
    except NotRunning as error:
        return [*found, ("deployment", True, str(error))]
    except WrongAccount as error:
        return [*found, (BEFORE[2], False, str(error))]
    except BidkitError as error:
        return [*found, (BEFORE[0], False, str(error))]
    return [*found, *(_asked(name, check, deployed) for name, check in CHECKS.items())]


def _asked(name: str, check: Check, deployed: Deployed) -> Finding:
    try:
        wrong = check(deployed)
    except AwsRefused as error:
        return name, False, f"cannot be told: {error}"
    return name, wrong is None, wrong or "no sign of it"


def _tool(name: str) -> Finding:
    path = shutil.which(name)
    return name, bool(path), path or "not on PATH"


def _library() -> Finding:
    try:
        require_boto3()
    except MissingServer as error:
        return "boto3", False, str(error)
    return "boto3", True, "installed"


def _engine() -> Finding:
    try:
        return "docker", True, f"engine {engine_version()}"
    except BidkitError as error:
        return "docker", False, without_advice(error)
