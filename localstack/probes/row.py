"""One row of the tables: how far the emulator goes, and who checks the rest."""

from dataclasses import dataclass
from enum import StrEnum


class How(StrEnum):
    EMULATED = "emulated"
    STATIC = "checked statically"
    AWS = "only on AWS"


@dataclass(frozen=True, slots=True)
class Evidence:
    file: str
    """From the checkout's root."""
    text: str
    """A test's name, or a message of `terraform test`."""


@dataclass(frozen=True, slots=True)
class Row:
    how: How
    says: str
    evidence: tuple[Evidence, ...] = ()


def cloud(name: str, *tests: str) -> tuple[Evidence, ...]:
    """Tests on the emulator, of tests/integration/cloud/test_NAME.py."""
    return tuple(Evidence(f"tests/integration/cloud/test_{name}.py", test) for test in tests)


def plan(name: str, *messages: str) -> tuple[Evidence, ...]:
    """Assertions on plans, of terraform/tests/NAME.tftest.hcl."""
    return tuple(Evidence(f"terraform/tests/{name}.tftest.hcl", message) for message in messages)


def suite(name: str, *tests: str) -> tuple[Evidence, ...]:
    """Tests of tests/terraform/test_NAME.py."""
    return tuple(Evidence(f"tests/terraform/test_{name}.py", test) for test in tests)


WHOLE = cloud("bidkit", "test_system_goes_from_nothing_to_nothing")
"""bidkit deploys, bids, watches, scales, audits and destroys."""

ROTATED = cloud("clean_up", "test_rotated_password_reaches_the_worker_when_it_is_rolled")
"""A password is rotated by the guide's commands."""
