"""Format, validity, and `terraform test` with the variables of dev and of prod."""

import re

from tests.terraform.conftest import (
    EXPORTED,
    FOR_BOTH,
    SHOWN_FOR_BOTH,
    SOURCES,
    Outcome,
    Terraform,
    only,
)

FILES = {path.name.partition(".")[0] for path in (SOURCES / "tests").glob("*.tftest.hcl")}


def test_every_file_is_formatted(terraform: Terraform) -> None:
    ran = terraform("fmt", "-check", "-recursive", "-diff")

    assert ran.returncode == 0, ran.stdout


def test_configuration_is_valid_without_warnings(terraform: Terraform) -> None:
    ran = terraform("validate", "-json")

    assert ran.returncode == 0, ran.stdout
    assert '"diagnostics": []' in ran.stdout


def test_plain_terraform_test_passes_with_nothing_exported(terraform: Terraform) -> None:
    """What somebody types in `terraform/`."""
    tested = Outcome.by(terraform)

    assert tested.errors == []
    assert tested.passed
    assert tested.statuses == dict.fromkeys(FILES, "pass")
    assert tested.summary["passed"] > len(FILES)


def test_what_holds_for_both_passes_with_the_variables_of_prod(
    prod: Terraform, shown_prod: Outcome
) -> None:
    for tested, files in (
        (Outcome.by(prod, *only(*FOR_BOTH)), FOR_BOTH),
        (shown_prod, SHOWN_FOR_BOTH),
    ):
        assert tested.errors == []
        assert tested.passed
        passed = {file for file, status in tested.statuses.items() if status == "pass"}
        assert passed == set(files)


def test_tests_of_prod_have_its_variables() -> None:
    def settings(text: str) -> set[str]:
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        return {" ".join(line.split()) for line in lines if "=" in line}

    text = (SOURCES / "tests" / "prod.tftest.hcl").read_text()
    block = re.search(r"^variables \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)

    assert block
    prod = (SOURCES / "prod.tfvars").read_text()
    exported = {line for line in settings(EXPORTED["prod"]) if '"' in line}
    assert settings(block[1]) == settings(prod) | exported
    assert len(exported) == 4


def test_tests_have_the_variables_of_dev() -> None:
    own = (SOURCES / "tests" / "dev.auto.tfvars").read_bytes()

    assert own == (SOURCES / "dev.tfvars").read_bytes()
