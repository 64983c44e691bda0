"""Whether what was applied leads where it should. An emulator may answer with fall-backs."""

import re

from pkg.devkit.cloud.aws import Aws
from pkg.devkit.cloud.place import Place
from pkg.devkit.cloud.state_dir import Outputs
from pkg.devkit.cloud.status import NAME
from pkg.devkit.docker_cli import ask
from pkg.devkit.errors import BidkitError

_FALLBACKS = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|::1|)")
"""What an emulator calls a store whose container it could not start."""

_OF_AWS = re.compile(r"\.amazonaws\.com(\.cn)?$")
_ON_LOOPBACK = re.compile(r"https?://(localhost|127\.0\.0\.1):\d+")
_POSTGRES_PORT = 5432


class WrongEndpoint(BidkitError):  # noqa: N818 - see errors.py
    """The apply succeeded, but an endpoint leads nowhere, or to the other AWS."""


def check(place: Place, outputs: Outputs, aws: Aws) -> None:
    """Raises WrongEndpoint."""
    problems = [*_stores(place, outputs), *_addresses(place, outputs)]
    for what, state in _states(aws):
        if state != "available":
            problems.append(f"{what} is {state}")
    if problems:
        raise WrongEndpoint(f"what was applied is not usable: {'; '.join(problems)}.")


def _stores(place: Place, outputs: Outputs) -> list[str]:
    hosts = {"PostgreSQL": outputs.rds_endpoint, "Redis": outputs.redis_endpoint}
    wrong = [
        f"{what} is at {host!r}, where nothing of the system runs"
        for what, host in hosts.items()
        if _FALLBACKS.fullmatch(host)
    ]
    if outputs.rds_port != _POSTGRES_PORT:
        wrong.append(f"PostgreSQL's port is {outputs.rds_port}, not {_POSTGRES_PORT}")
    if not place.emulated:
        wrong += [
            f"{what} is at {host}, which is not AWS'"
            for what, host in hosts.items()
            if not _OF_AWS.search(host)
        ]
    return wrong


def _addresses(place: Place, outputs: Outputs) -> list[str]:
    if not place.emulated:
        local = _ON_LOOPBACK.match(outputs.alb_url)
        return [f"the load balancer is at {outputs.alb_url}, on this machine"] if local else []
    wrong = []
    if not _ON_LOOPBACK.fullmatch(outputs.alb_url):
        wrong.append(f"the load balancer is at {outputs.alb_url}, not on this machine")
    if _OF_AWS.search(outputs.ecr_api_gateway_url.partition("/")[0]):
        wrong.append(f"images would be pushed to {outputs.ecr_api_gateway_url}")
    return wrong


def _states(aws: Aws) -> list[tuple[str, str]]:
    group = aws.ask("elasticache", "describe_replication_groups", ReplicationGroupId=NAME)
    database = aws.ask("rds", "describe_db_instances", DBInstanceIdentifier=NAME)
    return [
        ("Redis", str(group["ReplicationGroups"][0]["Status"])),
        ("PostgreSQL", str(database["DBInstances"][0]["DBInstanceStatus"])),
    ]


def check_loopback(containers: list[str]) -> None:
    """Raises WrongEndpoint if one of them can be reached from another machine."""
    published = [line for each in containers for line in ask("port", each).splitlines()]
    public = [line for line in published if "-> 127.0.0.1:" not in line]
    if public:
        raise WrongEndpoint(f"ports are published beyond loopback: {'; '.join(public)}.")
