"""Format, validity, and every file of `terraform test` with the variables of dev and prod."""

import pytest

from tests.terraform.conftest import ENVIRONMENTS, SOURCES, Terraform

FILES = sorted(path.name.partition(".")[0] for path in (SOURCES / "tests").glob("*.tftest.hcl"))
ONLY_IN = {"dev": "dev", "prod": "prod", "prod_refusals": "prod", "refusals": "dev"}
RUNS = [
    (file, environment)
    for file in FILES
    for environment in ENVIRONMENTS
    if file not in {"always", "protected"} and environment == ONLY_IN.get(file, environment)
]
"""Other tests run `always` and `protected`, because they need the output."""


def test_every_file_is_formatted(terraform: Terraform) -> None:
    ran = terraform("fmt", "-check", "-recursive", "-diff")

    assert ran.returncode == 0, ran.stdout


def test_configuration_is_valid_without_warnings(terraform: Terraform) -> None:
    ran = terraform("validate", "-json")

    assert ran.returncode == 0, ran.stdout
    assert '"diagnostics": []' in ran.stdout


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("file", "environment"), RUNS)
def test_terraform_tests_pass(terraform: Terraform, file: str, environment: str) -> None:
    messages = terraform.run_tests(file, environment)

    summary = next(each["test_summary"] for each in messages if each["type"] == "test_summary")
    assert summary["passed"] > 0
    assert (summary["failed"], summary["errored"], summary["skipped"]) == (0, 0, 0)
