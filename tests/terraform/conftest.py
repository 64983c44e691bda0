"""The configuration in a folder of its own, with its provider: plans are made on a mocked AWS."""

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
GIVEN: Mapping[str, Mapping[str, str]] = {
    "dev": SECRETS,
    "prod": {**SECRETS, "redis_auth_token": TOKEN, "image_tag": "0123456789ab"},
}
"""What a person exports before a plan."""


@dataclass
class Terraform:
    """A copy of the configuration that nothing else uses."""

    folder: Path

    def __call__(
        self, *arguments: str, given: Mapping[str, str] | None = None, within_s: float = 180
    ) -> subprocess.CompletedProcess[str]:
        variables = {f"TF_VAR_{name}": value for name, value in (given or {}).items()}
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env={**os.environ, **variables, "TF_IN_AUTOMATION": "1", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def tested(
        self, file: str, environment: str, *, cleans_up: bool = True
    ) -> list[dict[str, Any]]:
        """The messages of one file of tests. Fails the test with what terraform complained of.

        What cannot clean up has to fail at that, and only at that.
        """
        ran = self(
            *("test", "-json", "-verbose", f"-filter=tests/{file}.tftest.hcl"),
            f"-var-file={environment}.tfvars",
            given=GIVEN[environment],
            within_s=240,
        )
        messages = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
        complaints = [
            f"{each['@message']}: {each['diagnostic'].get('detail', '')}"
            for each in messages
            if each["type"] == "diagnostic" and each["@level"] == "error"
        ]
        assert (ran.returncode == 0) == cleans_up, "\n".join(complaints) or ran.stderr
        return messages


@dataclass
class Planned:
    """What a plan would make, and what it would tell."""

    environment: str
    text: str
    """All of it, as Terraform would save it."""
    resources: list[dict[str, Any]] = field(default_factory=list)

    def after(self, kind: str) -> list[dict[str, Any]]:
        """The resources of a type as they would be."""
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
    messages = terraform.tested("always", request.param)
    (plan,) = (each["test_plan"] for each in messages if each["type"] == "test_plan")
    plan.pop("provider_schemas")
    return Planned(
        request.param,
        json.dumps(plan),
        [each for each in plan["resource_changes"] if each["mode"] == "managed"],
    )
