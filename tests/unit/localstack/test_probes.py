"""The tables of the emulator's guide leave nothing out, and name tests that exist."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from localstack.probes.document import rows, section
from localstack.probes.paths import FLOWS, PATHS
from localstack.probes.prod import AFTERWARDS, PROPERTIES, Property
from localstack.probes.resources import RESOURCES
from localstack.probes.row import Evidence, How, Row

ROOT = Path(__file__).resolve().parents[3]
TERRAFORM = ROOT / "terraform"
CONFIGURATION = "\n".join(file.read_text("utf-8") for file in TERRAFORM.rglob("*.tf"))
ALL_PROPERTIES = {**PROPERTIES, **AFTERWARDS}
ENTRIES: list[Row | Property] = [*RESOURCES.values(), *PATHS.values(), *ALL_PROPERTIES.values()]


def values(file: str) -> dict[str, str]:
    """Values by variable, spaces aside."""
    text = re.sub(r"^#.*\n", "", (TERRAFORM / file).read_text("utf-8"), flags=re.MULTILINE)
    found = re.findall(r"^(\w+) *= *(.*(?:\n(?![a-z]).*)*)", text, re.MULTILINE)
    return {name: " ".join(value.split()) for name, value in found}


def test_every_type_of_resource_has_a_row() -> None:
    types = set(re.findall(r'^resource "(aws_\w+)"', CONFIGURATION, re.MULTILINE))

    assert types
    assert set(RESOURCES) == types


def test_every_allowed_connection_has_a_row() -> None:
    text = (TERRAFORM / "security_groups.tf").read_text("utf-8").partition("flows = {")[2]
    flows = set(re.findall(r"^ {4}([\w-]+) += \{ from", text, re.MULTILINE))

    assert flows
    assert set(FLOWS) == flows
    assert set(FLOWS.values()) <= set(PATHS)


def test_every_value_that_only_prod_has_is_probed() -> None:
    dev, prod = values("dev.tfvars"), values("prod.tfvars")

    differing = {name for name, value in prod.items() if dev.get(name) != value}

    assert {"services", "zones", "db_multi_az"} <= differing
    assert set(ALL_PROPERTIES) == differing


def test_values_are_read_with_their_blocks() -> None:
    assert "count = 6" in values("prod.tfvars")["services"]
    assert values("dev.tfvars")["environment"] == '"dev"'


def test_every_row_names_what_checks_it() -> None:
    assert [row for row in ENTRIES if not row.evidence] == []


@pytest.mark.parametrize(
    "evidence",
    list(dict.fromkeys(each for row in ENTRIES for each in row.evidence)),
    ids=lambda one: one.text[:40],
)
def test_named_tests_exist(evidence: Evidence) -> None:
    text = (ROOT / evidence.file).read_text("utf-8")

    sought = f"def {evidence.text}(" if evidence.file.endswith(".py") else f'"{evidence.text}"'
    assert sought in text


def test_what_is_emulated_is_held_by_a_test_on_the_emulator_or_by_a_probe() -> None:
    held = ("tests/integration/cloud/", "tests/unit/localstack/", "tests/terraform/test_nats_task")
    by_plan_only = {
        name
        for name, row in {**RESOURCES, **PATHS}.items()
        if row.how == How.EMULATED and not any(one.file.startswith(held) for one in row.evidence)
    }
    probed = {name for name, row in PATHS.items() if row.says == "see `nats_clustered` below"}

    assert probed
    assert by_plan_only == probed
    assert PROPERTIES["nats_clustered"].how == How.EMULATED


def test_tables_have_these_rows_and_no_other() -> None:
    assert [(row[0], row[4], row[5]) for row in rows("Resources")] == [
        (f"`{kind}`", row.how, row.says) for kind, row in sorted(RESOURCES.items())
    ]
    assert [tuple(row[:3]) for row in rows("Ways of data")] == [
        (name, row.how, row.says) for name, row in PATHS.items()
    ]
    assert [tuple(row[:2]) for row in rows("What prod has and dev has not")] == [
        (f"`{name}`", one.how) for name, one in ALL_PROPERTIES.items()
    ]


def test_tables_name_each_rows_tests() -> None:
    tables: dict[str, Mapping[str, Row | Property]] = {
        "Resources": dict(sorted(RESOURCES.items())),
        "Ways of data": PATHS,
        "What prod has and dev has not": ALL_PROPERTIES,
    }
    for title, entries in tables.items():
        for cells, row in zip(rows(title), entries.values(), strict=True):
            assert [
                one.text for one in row.evidence if one.text.removesuffix(".") not in cells[-1]
            ] == []


def test_probes_applied_all_of_prod_and_a_second_plan_changes_nothing() -> None:
    assert "It applied all of prod" in section()
    assert [row[0] for row in rows("Resources") if row[3] not in {"no change", "-"}] == []
    assert [row[0] for row in rows("What prod has and dev has not") if row[2] in {"", "-"}] == []
