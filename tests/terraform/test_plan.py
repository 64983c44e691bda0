"""What a plan of dev and of prod holds, and what neither a plan nor the state may hold."""

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from pkg.api.gateway import KEEPALIVE_S
from pkg.runtime.settings import ServingSettings
from tests.terraform.conftest import ENVIRONMENTS, SECRETS, SOURCES, TOKEN, Planned, Terraform


def containers(planned: Planned) -> list[dict[str, Any]]:
    return [
        container
        for task in planned.after("aws_ecs_task_definition")
        for container in json.loads(task["container_definitions"])
    ]


def leaked(text: str) -> list[str]:
    """The names of the secrets in it, as they are, in JSON's writing, or as part of a URL."""
    return [
        name
        for name, secret in SECRETS.items()
        if any(form in text for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe="")))
    ]


def test_no_password_is_in_the_plan(planned: Planned) -> None:
    assert leaked(planned.text) == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_password_is_in_state_and_rediss_token_only_where_it_has_to_be(
    terraform: Terraform, environment: str
) -> None:
    messages = terraform.tested("state", environment)
    (state,) = (each["test_state"] for each in messages if each["type"] == "test_state")
    modules = [state["root_module"], *state["root_module"]["child_modules"]]
    resources = [each for module in modules for each in module["resources"]]

    assert leaked(json.dumps(resources) + json.dumps(state.get("outputs", {}))) == []
    holding = {each["address"] for each in resources if TOKEN in json.dumps(each)}
    expected = {"aws_elasticache_replication_group.this"} if environment == "prod" else set()
    assert holding == expected


def test_a_test_for_leaks_finds_one() -> None:
    assert leaked(json.dumps({"password": SECRETS["db_password"]})) == ["db_password"]
    assert leaked("nats://bidding:n%403%2Fh%3A8%25Zp5sYc1Fb@nats") == ["nats_password"]


def test_whoever_sends_on_an_idle_connection_is_the_one_that_closes_it(planned: Planned) -> None:
    (balancer,) = planned.after("aws_lb")

    assert balancer["idle_timeout"] < KEEPALIVE_S


def test_a_task_is_not_killed_before_the_service_has_drained(planned: Planned) -> None:
    services = [each for each in containers(planned) if "entryPoint" not in each]

    assert len(services) == 3
    for container in services:
        environment = {each["name"]: each["value"] for each in container["environment"]}
        deregister_s = float(environment["DEREGISTER_S"])
        assert container["stopTimeout"] > deregister_s + ServingSettings().shutdown_timeout_s
        assert container["stopTimeout"] <= 120


def test_the_provider_tags_everything() -> None:
    """A mocked provider adds no default tags to a plan, so this looks at the words."""
    provider = re.search(
        r'^provider "aws" \{\n(.*?)^\}', (SOURCES / "main.tf").read_text(), re.MULTILINE | re.DOTALL
    )

    assert provider
    assert re.search(r"default_tags \{\s+tags = local\.tags\s+\}", provider[1])


def test_only_what_scales_keeps_the_number_of_tasks_it_has() -> None:
    """A first plan does not show what a later one ignores."""
    text = (SOURCES / "modules" / "service" / "service.tf").read_text()
    fixed, scaled = text.split('resource "aws_ecs_service"')[1:]

    assert "ignore_changes" not in fixed
    assert "ignore_changes = [desired_count]" in scaled
