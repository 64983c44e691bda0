"""Runs Terraform on a copy of the configuration, with a mocked AWS provider."""

import json
import os
import re
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


def assigned(text: str) -> dict[str, str]:
    """The texts assigned to names, as in a file of variables."""
    return dict(re.findall(r'^ *(\w+) += "(.*)"$', text, re.MULTILINE))


PASSWORDS = SOURCES / "tests" / "passwords.auto.tfvars"
SECRETS = {
    name: text
    for name, text in assigned(PASSWORDS.read_text()).items()
    if name.endswith("_password")
}
TOKEN = "r4Tz9mKq2Lx7Vb1Nc6Wd3Hs8Jf5Gp0Ya"
EXPORTED: Mapping[str, str] = {
    "dev": PASSWORDS.read_text(),
    "prod": PASSWORDS.read_text()
    .replace("redis_auth_token = null", f'redis_auth_token = "{TOKEN}"')
    .replace('"latest"', '"0123456789ab"'),
}
"""The file of variables that a user exports before `terraform plan`."""
SHOWN_FOR_BOTH = ("always", "state")
FOR_BOTH = ("edge", "load_generator", "tasks", "wiring")
"""Files of `terraform test` that hold for prod too, as do those of which plan or state are read."""


def only(*files: str) -> list[str]:
    return [f"-filter=tests/{file}.tftest.hcl" for file in files]


@dataclass
class Terraform:
    """Runs terraform in a copy of the configuration."""

    folder: Path

    def __call__(self, *arguments: str, within_s: float = 600) -> subprocess.CompletedProcess[str]:
        environ = {name: text for name, text in os.environ.items() if name[:7] != "TF_VAR_"}
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env={**environ, "TF_IN_AUTOMATION": "1", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def copy(self, name: str, *, variables: str, exported: str = "") -> "Terraform":
        """Another copy, whose tests have these variables."""
        folder = self.folder.with_name(name)
        shutil.copytree(self.folder, folder, symlinks=True)
        tests = folder / "tests"
        for file in tests.glob("*.auto.tfvars"):
            file.unlink()
        (tests / "a.auto.tfvars").write_text(variables)
        (tests / "b.auto.tfvars").write_text(exported)
        return Terraform(folder)


@dataclass
class Outcome:
    """What a `terraform test` said."""

    passed: bool
    messages: list[dict[str, Any]]

    @classmethod
    def by(cls, terraform: Terraform, *options: str) -> "Outcome":
        ran = terraform("test", "-json", *options)
        lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
        return cls(ran.returncode == 0, [json.loads(line) for line in lines])

    @property
    def statuses(self) -> dict[str, str]:
        """By file: pass, fail, error or skip."""
        return {
            Path(file["path"]).name.partition(".")[0]: file["status"]
            for file in self._of("test_file")
            if file["progress"] == "complete"
        }

    @property
    def errors(self) -> list[str]:
        return [
            f"{each.get('@testfile')} {each['@message']}: {each['diagnostic'].get('detail', '')}"
            for each in self.messages
            if each["type"] == "diagnostic" and each["@level"] == "error"
        ]

    @property
    def summary(self) -> dict[str, Any]:
        (summary,) = self._of("test_summary")
        return summary

    def plan(self, run: str, *, file: str) -> dict[str, Any]:
        plan = self._said("test_plan", run, file)
        plan.pop("provider_schemas", None)
        return plan

    def state(self, run: str, *, file: str) -> dict[str, Any]:
        return self._said("test_state", run, file)

    def left(self) -> set[str]:
        """The addresses of resources that the clean-up could not destroy."""
        (cleanup,) = self._of("test_cleanup")
        return {each["instance"] for each in cleanup["failed_resources"]}

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [each[kind] for each in self.messages if each["type"] == kind]

    def _said(self, kind: str, run: str, file: str) -> dict[str, Any]:
        (said,) = (
            each[kind]
            for each in self.messages
            if each["type"] == kind
            and each["@testrun"] == run
            and Path(each["@testfile"]).name == f"{file}.tftest.hcl"
        )
        assert isinstance(said, dict)
        return said


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
    shutil.rmtree(folder.parent)


@pytest.fixture(scope="session")
def prod(terraform: Terraform) -> Terraform:
    """A copy with prod's variables."""
    variables = (SOURCES / "prod.tfvars").read_text()
    return terraform.copy("prod", variables=variables, exported=EXPORTED["prod"])


@pytest.fixture(scope="session")
def shown_dev(terraform: Terraform) -> Outcome:
    """Plans and states, which are long."""
    return Outcome.by(terraform, "-verbose", *only("always", "emulated", "state"))


@pytest.fixture(scope="session")
def shown_prod(prod: Terraform) -> Outcome:
    return Outcome.by(prod, "-verbose", *only(*SHOWN_FOR_BOTH))


@pytest.fixture(scope="session", params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture(scope="session")
def shown(request: pytest.FixtureRequest, environment: str) -> Outcome:
    found = request.getfixturevalue(f"shown_{environment}")
    assert isinstance(found, Outcome)
    return found


@pytest.fixture(scope="session")
def planned(environment: str, shown: Outcome) -> Planned:
    plan = shown.plan("plan", file="always")
    return Planned(
        environment,
        json.dumps(plan),
        [each for each in plan["resource_changes"] if each["mode"] == "managed"],
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first waits for `terraform test`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(620))
