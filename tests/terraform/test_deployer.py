"""What whoever applies it may do, and how far the roles go that are made."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from tests.terraform.conftest import SOURCES, Planned

MOST_CHARACTERS = 6144  # of a managed policy, blanks not counted
BOUNDARY = "arn:aws:iam::*:policy/bidding-system-boundary"
WIDENING = {
    *("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"),
    *("iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary"),
}


def statements(file: str) -> list[dict[str, Any]]:
    text = (SOURCES / file).read_text()
    (bucket,) = re.findall(r'bucket += "(.*)"', (SOURCES / "backend.tf.example").read_text())
    with_own_bucket = text.replace(bucket, "b" * 63)  # the longest that S3 takes
    assert len(re.sub(r"\s", "", with_own_bucket)) <= MOST_CHARACTERS
    found: list[dict[str, Any]] = json.loads(text)["Statement"]
    return found


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def used(planned: Planned) -> Iterator[dict[str, Any]]:
    """Every statement of every role that the plan makes."""
    for role in planned.after("aws_iam_role_policy"):
        yield from json.loads(role["policy"])["Statement"]


def test_a_deployer_may_not_do_everything() -> None:
    for statement in statements("deployer-policy.json"):
        actions = listed(statement["Action"])
        assert "*" not in actions
        assert not any(action.startswith("iam:*") for action in actions)
        if "iam:" in json.dumps(statement["Action"]):
            assert statement["Resource"] != "*"


def test_a_deployer_makes_no_role_that_may_do_more_than_the_boundary() -> None:
    """A role of any rights that may be passed to a task is all rights."""
    for statement in statements("deployer-policy.json"):
        if WIDENING & set(listed(statement["Action"])):
            assert statement["Condition"] == {"StringLike": {"iam:PermissionsBoundary": BOUNDARY}}
            assert "iam:DeleteRolePermissionsBoundary" not in statement["Action"]


def test_a_deployer_takes_away_what_has_this_systems_tag_alone() -> None:
    whole = {"Vpc", "Subnet", "SecurityGroup", "InternetGateway", "NatGateway", "RouteTable"}
    deleting = {f"ec2:Delete{each}" for each in whole} | {"elasticfilesystem:DeleteFileSystem"}

    for statement in statements("deployer-policy.json"):
        if any(fnmatchcase(one, each) for one in deleting for each in listed(statement["Action"])):
            tag = {"StringEquals": {"aws:ResourceTag/Project": "bidding-system"}}
            assert statement["Condition"] == tag


def test_a_deployer_gives_this_systems_tag_to_nothing_that_it_did_not_make() -> None:
    """Else it could tag, and then take away, what is anybody's. Of security groups it may: the one
    that comes with a VPC is tagged after it is there."""
    tagging = {"ec2:CreateTags", "elasticfilesystem:TagResource"}

    for statement in statements("deployer-policy.json"):
        actions = listed(statement["Action"])
        if any(fnmatchcase(one, each) for one in tagging for each in actions):
            made = {"Null": {f"{actions[0].partition(':')[0]}:CreateAction": "false"}}
            has_it = {"StringEquals": {"aws:ResourceTag/Project": "bidding-system"}}
            groups = "arn:aws:ec2:*:*:security-group/*"
            assert statement.get("Condition") in (made, has_it) or statement["Resource"] == groups


def test_a_deployer_changes_no_network_and_no_file_system_of_others() -> None:
    """What may be done to anything only makes or looks, or comes when its like are gone: a file
    system's interface, and an address of a gateway that is no more, which no tag could be on."""
    making = re.compile(
        r"ec2:(Allocate|Create)\w+|(ec2|elasticfilesystem):(Describe|Get|List)[\w*]+"
    )
    spared = {
        *("ec2:DeleteNetworkInterface", "ec2:DisassociateAddress"),
        "elasticfilesystem:CreateFileSystem",
    }

    for statement in statements("deployer-policy.json"):
        if statement["Resource"] == "*" and "Condition" not in statement:
            for action in listed(statement["Action"]):
                if action.startswith(("ec2:", "elasticfilesystem:")) and action not in spared:
                    assert making.fullmatch(action)
                    assert action not in {"ec2:CreateRoute", "ec2:CreateTags"}


def test_a_deployer_starts_tasks_in_this_systems_cluster_alone(planned: Planned) -> None:
    """Whose cluster it is, the permission to run a task definition does not ask by itself."""
    (cluster,) = planned.after("aws_ecs_cluster")
    (denied,) = (each for each in statements("deployer-policy.json") if each["Effect"] == "Deny")

    assert {"ecs:CreateService", "ecs:RunTask", "ecs:StartTask"} <= set(denied["Action"])
    assert denied["Resource"] == "*"
    ours = f"arn:aws:ecs:*:*:cluster/{cluster['name']}"
    assert denied["Condition"] == {"ArnNotLike": {"ecs:cluster": ours}}


def test_a_deployer_passes_on_the_roles_that_are_made_here_and_no_others(
    planned: Planned,
) -> None:
    made = {role["name"] for role in planned.after("aws_iam_role")}
    given = [
        resource.rpartition("role/")[2]
        for statement in statements("deployer-policy.json")
        if {"iam:PassRole", "iam:UpdateAssumeRolePolicy"} & set(listed(statement["Action"]))
        for resource in listed(statement["Resource"])
        if "aws-service-role" not in resource
    ]

    assert all(any(fnmatchcase(name, pattern) for pattern in given) for name in made)
    for other in ("bidding-system-admin", "bidding-system-ci", "bidding-system-deployer"):
        assert not any(fnmatchcase(other, pattern) for pattern in given)


def test_a_deployer_may_change_how_services_scale() -> None:
    """The provider sends the role that AWS made for it along with every change."""
    scaling = "arn:aws:iam::*:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/*"

    assert any(
        statement["Action"] == "iam:PassRole" and statement["Resource"] == scaling
        for statement in statements("deployer-policy.json")
    )


def test_a_deployer_may_do_what_knows_no_name_to_confine_it_by() -> None:
    anywhere = {
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
        "ec2:GetSecurityGroupsForVpc",  # which CreateLoadBalancer asks for
        "cloudwatch:GetMetricData",  # the dashboard's graphs
    } <= anywhere


def test_the_states_bucket_is_the_examples() -> None:
    (bucket,) = re.findall(r'bucket += "(.*)"', (SOURCES / "backend.tf.example").read_text())
    (state,) = (
        each for each in statements("deployer-policy.json") if each["Sid"] == "StateOfATeam"
    )

    assert f"arn:aws:s3:::{bucket}" in state["Resource"]
    assert "encrypt      = true" in (SOURCES / "backend.tf.example").read_text()


def test_the_boundary_is_what_the_roles_need_and_no_more(planned: Planned) -> None:
    shells = {
        f"ssmmessages:{verb}{channel}Channel"
        for verb in ("Create", "Open")
        for channel in ("Control", "Data")
    }

    within = {
        action
        for statement in statements("permissions-boundary.json")
        for action in listed(statement["Action"])
    }
    assert (
        within
        == {action for statement in used(planned) for action in listed(statement["Action"])}
        | shells
    )
