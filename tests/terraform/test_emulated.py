"""With `emulated`, nothing that Terraform hands out leads to AWS."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.conftest import Outcome

COMMANDS = ("aws", "docker", "git")
RECORDING = """#!/bin/sh
echo "$(basename "$0") $*" >>"$RECORD"
cat >/dev/null
echo answer
"""


def aws_hosts(text: str) -> set[str]:
    return set(re.findall(r"[\w.-]*\b(?:amazonaws\.com|amazon\.com|api\.aws)\b[\w.]*", text))


@pytest.fixture(scope="module")
def plan(shown_dev: Outcome) -> dict[str, Any]:
    return shown_dev.plan("registry", file="emulated")


@pytest.fixture(scope="module")
def outputs(plan: dict[str, Any]) -> dict[str, Any]:
    changes = plan["output_changes"]
    assert {name for name, each in changes.items() if "after" not in each} == {"vpc_id"}
    return {name: each.get("after") for name, each in changes.items()}


@pytest.fixture
def script(outputs: dict[str, Any], tmp_path: Path) -> Path:
    file = tmp_path / "deploy.sh"
    file.write_text(outputs["deployment_commands"])
    return file


def run(script: Path, environ: Mapping[str, str]) -> tuple[subprocess.CompletedProcess[str], str]:
    """Runs it with commands that do nothing; returns what they were asked to do."""
    recorded = script.with_name("recorded")
    recorded.touch()
    for name in COMMANDS:
        command = script.with_name(name)
        command.write_text(RECORDING)
        command.chmod(0o755)
    ran = subprocess.run(
        ["sh", "-eu", str(script)],
        env={**environ, "PATH": f"{script.parent}:{os.environ['PATH']}", "RECORD": str(recorded)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return ran, recorded.read_text()


def test_no_output_has_a_host_of_aws(outputs: dict[str, Any]) -> None:
    assert len(outputs) >= 15
    for name, value in outputs.items():
        assert aws_hosts(json.dumps(value)) == set(), name


def test_no_task_has_a_host_of_aws(plan: dict[str, Any]) -> None:
    tasks = [
        each["change"]["after"]["container_definitions"]
        for each in plan["resource_changes"]
        if each["type"] == "aws_ecs_task_definition"
    ]

    assert len(tasks) == 6
    assert aws_hosts("\n".join(tasks)) == set()


def test_deployment_commands_log_in_tag_and_push_at_the_emulator(script: Path) -> None:
    ran, asked = run(script, {"AWS_ENDPOINT_URL": "http://localhost:4566"})

    assert ran.returncode == 0, ran.stderr
    assert len(re.findall(r"^docker login .* localhost:4566$", asked, re.MULTILINE)) == 1
    assert len(re.findall(r"^docker tag .* localhost:4566/\S+$", asked, re.MULTILINE)) == 3
    assert len(re.findall(r"^docker push localhost:4566/\S+$", asked, re.MULTILINE)) == 3
    assert aws_hosts(asked + script.read_text()) == set()


def test_deployment_commands_do_nothing_where_the_emulator_is_not_set(script: Path) -> None:
    """There they would address AWS, with whatever credentials are set."""
    ran, asked = run(script, {})

    assert ran.returncode != 0
    assert "AWS_ENDPOINT_URL" in ran.stderr
    assert asked == ""


def test_search_finds_hosts_of_aws() -> None:
    text = "docker push 1.dkr.ecr.eu-west-1.amazonaws.com/x http://a.us-east-1.elb.amazonaws.com:80"

    assert aws_hosts(text) == {
        "1.dkr.ecr.eu-west-1.amazonaws.com",
        "a.us-east-1.elb.amazonaws.com",
    }
    assert aws_hosts("arn:aws:ecs:us-east-1:000000000000:cluster/a localhost:4566") == set()
