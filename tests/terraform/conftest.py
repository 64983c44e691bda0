"""Runs Terraform on a copy of the configuration, with a mocked AWS provider."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
SOURCES = PROJECT / "terraform"
ENVIRONMENTS = ("dev", "prod")

SECRETS = {
    "db_password": "k7:Qm%2vT9xLr4Wd&p",
    "nats_password": "n@3/h:8%Zp5sYc1Fb",
}
TOKEN = "r4Tz9mKq2Lx7Vb1Nc6Wd3Hs8Jf5Gp0Ya"
VARIABLES: Mapping[str, Mapping[str, str]] = {
    "dev": SECRETS,
    "prod": {**SECRETS, "redis_auth_token": TOKEN, "image_tag": "0123456789ab"},
}
"""Variables that a user exports before `terraform plan`."""


@dataclass
class Terraform:
    """Runs terraform in a copy of the configuration."""

    folder: Path

    def __call__(
        self, *arguments: str, variables: Mapping[str, str] | None = None, within_s: float = 180
    ) -> subprocess.CompletedProcess[str]:
        exported = {f"TF_VAR_{name}": value for name, value in (variables or {}).items()}
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env={**os.environ, **exported, "TF_IN_AUTOMATION": "1", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def run_tests(
        self, file: str, environment: str, *, cleans_up: bool = True
    ) -> list[dict[str, Any]]:
        """Runs a file of `terraform test` and returns its messages. Fails with terraform's errors.

        Without `cleans_up`, the run must fail, because its resources are protected.
        """
        ran = self(
            *("test", "-json", "-verbose", f"-filter=tests/{file}.tftest.hcl"),
            f"-var-file={environment}.tfvars",
            variables=VARIABLES[environment],
            within_s=240,
        )
        messages = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
        errors = [
            f"{each['@message']}: {each['diagnostic'].get('detail', '')}"
            for each in messages
            if each["type"] == "diagnostic" and each["@level"] == "error"
        ]
        assert (ran.returncode == 0) == cleans_up, "\n".join(errors) or ran.stderr
        return messages


@dataclass
class Planned:
    """The plan of one environment."""

    environment: str
    text: str
    """The whole plan as JSON."""
    resources: list[dict[str, Any]] = field(default_factory=list)

    def after(self, kind: str) -> list[dict[str, Any]]:
        """The planned state of all resources of this type."""
        return [each["change"]["after"] for each in self.resources if each["type"] == kind]


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    folder = tmp_path_factory.mktemp("terraform") / "terraform"
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "terraform.tfvars")
    shutil.copytree(SOURCES, folder, ignore=ignored)
    terraform = Terraform(folder)
    ran = terraform("init", "-backend=false", "-input=false")
    assert ran.returncode == 0, ran.stderr
    yield terraform
    shutil.rmtree(folder)


@pytest.fixture(scope="session", params=ENVIRONMENTS)
def planned(request: pytest.FixtureRequest, terraform: Terraform) -> Planned:
    messages = terraform.run_tests("always", request.param)
    (plan,) = (each["test_plan"] for each in messages if each["type"] == "test_plan")
    plan.pop("provider_schemas")
    return Planned(
        request.param,
        json.dumps(plan),
        [each for each in plan["resource_changes"] if each["mode"] == "managed"],
    )
