"""Listing containers while some of them are removed."""

import json
from pathlib import Path

import pytest

from pkg.devkit.compose.engine import Engine
from pkg.devkit.errors import BidkitError
from pkg.devkit.names import REDIS
from tests.unit.devkit.compose.test_container import inspected


@pytest.fixture
def failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`docker container inspect` fails once for each line of this file."""
    failures = tmp_path / "failures"
    command = tmp_path / "docker"
    command.write_text(
        "#!/bin/sh\n"
        '[ "$1" = ps ] && exec echo id1\n'
        f"if [ -s {failures} ]; then\n"
        f"  sed -i 1d {failures}; echo 'Error: No such container: id1' >&2; exit 1\n"
        "fi\n"
        f"echo '{json.dumps([inspected(REDIS)])}'\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return failures


def test_listing_is_retried_if_a_container_is_removed_meanwhile(
    failures: Path,
) -> None:
    failures.write_text("\n" * 2)

    assert [one.service for one in Engine().containers("any")] == [REDIS]


def test_listing_fails_if_containers_keep_being_removed(
    failures: Path,
) -> None:
    failures.write_text("\n" * 9)

    with pytest.raises(BidkitError, match="starting and going too fast to be listed"):
        Engine().containers("any")
