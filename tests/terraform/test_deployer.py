"""Limits of the deployer's policy and of the permissions boundary."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from tests.terraform.conftest import SOURCES, Planned

MOST_CHARACTERS = 6144  # of a managed policy, without white space
BOUNDARY = "arn:aws:iam::*:policy/bidding-system-boundary"
ROLE_ACTIONS = {
    *("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"),
    *("iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary"),
}


def statements(file: str) -> list[dict[str, Any]]:
    text = (SOURCES / file).read_text()
    (bucket,) = re.findall(r'bucket += "(.*)"', (SOURCES / "backend.tf.example").read_text())
    with_own_bucket = text.replace(bucket, "b" * 63)  # the longest name that S3 allows
    assert len(re.sub(r"\s", "", with_own_bucket)) <= MOST_CHARACTERS
    found: list[dict[str, Any]] = json.loads(text)["Statement"]
    return found


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def role_statements(planned: Planned) -> Iterator[dict[str, Any]]:
    """Every statement of every planned role."""
    for role in planned.after("aws_iam_role_policy"):
        yield from json.loads(role["policy"])["Statement"]


def test_deployer_may_not_do_everything() -> None:
    for statement in statements("deployer-policy.json"):
        actions = listed(statement["Action"])
        assert "*" not in actions
        assert not any(action.startswith("iam:*") for action in actions)
        if "iam:" in json.dumps(statement["Action"]):
            assert statement["Resource"] != "*"


def test_deployer_can_only_make_roles_within_the_boundary() -> None:
    """Otherwise a task with an unlimited role would give the deployer all rights."""
    for statement in statements("deployer-policy.json"):
        if ROLE_ACTIONS & set(listed(statement["Action"])):
            assert statement["Condition"] == {"StringLike": {"iam:PermissionsBoundary": BOUNDARY}}
            assert "iam:DeleteRolePermissionsBoundary" not in statement["Action"]


def test_deployer_can_delete_only_resources_with_this_system_s_tag() -> None:
    kinds = {"Vpc", "Subnet", "SecurityGroup", "InternetGateway", "NatGateway", "RouteTable"}
    deleting = {f"ec2:Delete{each}" for each in kinds} | {"elasticfilesystem:DeleteFileSystem"}

    for statement in statements("deployer-policy.json"):
        if any(fnmatchcase(one, each) for one in deleting for each in listed(statement["Action"])):
            tag = {"StringEquals": {"aws:ResourceTag/Project": "bidding-system"}}
            assert statement["Condition"] == tag


def test_deployer_can_tag_only_new_resources_and_those_already_tagged() -> None:
    """Otherwise it could tag and then delete any resource.

    Security groups are exempt: a VPC's default group is tagged after it was made.
    """
    tagging = {"ec2:CreateTags", "elasticfilesystem:TagResource"}

    for statement in statements("deployer-policy.json"):
        actions = listed(statement["Action"])
        if any(fnmatchcase(one, each) for one in tagging for each in actions):
            on_creation = {"Null": {f"{actions[0].partition(':')[0]}:CreateAction": "false"}}
            already_tagged = {"StringEquals": {"aws:ResourceTag/Project": "bidding-system"}}
            groups = "arn:aws:ec2:*:*:security-group/*"
            assert (
                statement.get("Condition") in (on_creation, already_tagged)
                or statement["Resource"] == groups
            )


def test_deployer_cannot_change_other_networks_and_file_systems() -> None:
    """Unrestricted actions only create or read, except for the two clean-ups of untagged resources:
    a file system's network interface and the address of a deleted gateway.
    """
    harmless = re.compile(
        r"ec2:(Allocate|Create)\w+|(ec2|elasticfilesystem):(Describe|Get|List)[\w*]+"
    )
    exempt = {
        *("ec2:DeleteNetworkInterface", "ec2:DisassociateAddress"),
        "elasticfilesystem:CreateFileSystem",
    }

    for statement in statements("deployer-policy.json"):
        if statement["Resource"] == "*" and "Condition" not in statement:
            for action in listed(statement["Action"]):
                if action.startswith(("ec2:", "elasticfilesystem:")) and action not in exempt:
                    assert harmless.fullmatch(action)
                    assert action not in {"ec2:CreateRoute", "ec2:CreateTags"}


def test_deployer_can_start_tasks_only_in_this_system_s_cluster(planned: Planned) -> None:
    """The permission to run a task definition does not check the cluster by itself."""
    (cluster,) = planned.after("aws_ecs_cluster")
    (denied,) = (each for each in statements("deployer-policy.json") if each["Effect"] == "Deny")

    assert {"ecs:CreateService", "ecs:RunTask", "ecs:StartTask"} <= set(denied["Action"])
    assert denied["Resource"] == "*"
    ours = f"arn:aws:ecs:*:*:cluster/{cluster['name']}"
    assert denied["Condition"] == {"ArnNotLike": {"ecs:cluster": ours}}


def test_deployer_can_pass_only_roles_of_this_system(
    planned: Planned,
) -> None:
    roles = {role["name"] for role in planned.after("aws_iam_role")}
    patterns = [
        resource.rpartition("role/")[2]
        for statement in statements("deployer-policy.json")
        if {"iam:PassRole", "iam:UpdateAssumeRolePolicy"} & set(listed(statement["Action"]))
        for resource in listed(statement["Resource"])
        if "aws-service-role" not in resource
    ]

    assert all(any(fnmatchcase(name, pattern) for pattern in patterns) for name in roles)
    for other in ("bidding-system-admin", "bidding-system-ci", "bidding-system-deployer"):
        assert not any(fnmatchcase(other, pattern) for pattern in patterns)


def test_deployer_may_change_auto_scaling() -> None:
    """The provider passes AWS' service-linked role with every change."""
    scaling = "arn:aws:iam::*:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/*"

    assert any(
        statement["Action"] == "iam:PassRole" and statement["Resource"] == scaling
        for statement in statements("deployer-policy.json")
    )


def test_deployer_has_the_actions_that_cannot_be_restricted_to_a_resource() -> None:
    unrestricted = {
        action
        for statement in statements("deployer-policy.json")
        if statement["Resource"] == "*" and "Condition" not in statement
        for action in statement["Action"]
    }

    assert {
        "rds:Describe*",
        "sns:GetSubscriptionAttributes",
        "sns:SetSubscriptionAttributes",
        "sns:Unsubscribe",
        "ec2:CreateVpcEndpoint",
        "ec2:GetSecurityGroupsForVpc",  # required by CreateLoadBalancer
        "cloudwatch:GetMetricData",  # the dashboard's graphs
    } <= unrestricted


def test_state_bucket_in_the_policy_is_that_of_the_example() -> None:
    (bucket,) = re.findall(r'bucket += "(.*)"', (SOURCES / "backend.tf.example").read_text())
    (state,) = (
        each for each in statements("deployer-policy.json") if each["Sid"] == "StateOfATeam"
    )

    assert f"arn:aws:s3:::{bucket}" in state["Resource"]
    assert "encrypt      = true" in (SOURCES / "backend.tf.example").read_text()


def test_boundary_allows_exactly_what_the_roles_need(planned: Planned) -> None:
    ecs_exec = {
        f"ssmmessages:{verb}{channel}Channel"
        for verb in ("Create", "Open")
        for channel in ("Control", "Data")
    }

    allowed = {
        action
        for statement in statements("permissions-boundary.json")
        for action in listed(statement["Action"])
    }
    assert (
        allowed
        == {
            action
            for statement in role_statements(planned)
            for action in listed(statement["Action"])
        }
        | ecs_exec
    )
