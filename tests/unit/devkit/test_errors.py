import re
from pathlib import Path

import pytest

from pkg.devkit.cli import INTERRUPTED
from pkg.devkit.compose.command import ComposeFailed
from pkg.devkit.docker_cli import NoEngine, failure
from pkg.devkit.errors import BidkitError, MissingServer, NotRunning, error_of


@pytest.mark.parametrize(
    ("code", "kind"), [(1, BidkitError), (3, NotRunning), (6, MissingServer), (77, BidkitError)]
)
def test_error_of_another_process_keeps_its_type_and_message(
    code: int, kind: type[BidkitError]
) -> None:
    error = error_of(code, "so it is.")

    assert (type(error), str(error)) == (kind, "so it is.")


def test_exit_codes_are_documented() -> None:
    operations = Path(__file__).resolve().parents[3] / "docs/operations.md"
    section = operations.read_text(encoding="utf-8").partition("## bidkit's exit codes")[2]
    listed = re.findall(r"^\| (\d+) \|", section.partition("\n## ")[0], re.MULTILINE)

    kinds: list[type[BidkitError]] = [BidkitError, *BidkitError.__subclasses__()]
    assert [int(code) for code in listed] == sorted(
        {0, INTERRUPTED, *(kind.exit_code for kind in kinds)}
    )


@pytest.mark.parametrize(
    "message",
    [
        "Cannot connect to the Docker daemon at unix:///nowhere. Is the docker daemon running?",
        "error during connect: Get http://docker: dial tcp: connection refused",
        "permission denied while trying to connect to the Docker daemon socket",
    ],
)
def test_unreachable_engine_and_failed_command_are_different_errors(message: str) -> None:
    unreachable, failed = failure(f"something\n{message}\n"), failure("No such container: x\n")

    assert isinstance(unreachable, NoEngine)
    assert "no Docker engine answers" in str(unreachable)
    assert str(failed) == "docker failed: No such container: x"


def test_error_of_compose_shows_its_last_line() -> None:
    error = ComposeFailed("one\n\ndependency failed to start: container nats is unhealthy\n")

    assert str(error) == ("docker failed: dependency failed to start: container nats is unhealthy")
    assert error.is_impatient
