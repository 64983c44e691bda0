"""What `up` says about who uses a port."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pkg.devkit.port_holder import taken_by

STOPS_IT = "Stop it with `docker compose -p bidding-system down`"
ANOTHER = "another program. Stop that program"
LISTENS = (
    "import socket, sys\n"
    "with socket.create_server(('127.0.0.1', 0)) as taken:\n"
    "    print(taken.getsockname()[1], flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture(autouse=True)
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake docker command; it fails unless a test rewrites it."""
    command = tmp_path / "docker"
    command.write_text("#!/bin/sh\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return command


def test_unrelated_program_is_not_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert taken_by(taken.getsockname()[1]) == ANOTHER


@pytest.mark.parametrize(
    ("project", "holder"),
    [
        (
            "bidding-system",
            f"the compose project bidding-system. {STOPS_IT}",
        ),
        ("shop", ANOTHER),
    ],
)
def test_compose_project_of_this_system_is_named(docker: Path, project: str, holder: str) -> None:
    docker.write_text(
        f'#!/bin/sh\n[ "$1 $2 $3" = "ps --filter publish=1" ] || exit 1\necho {project}\n'
    )

    assert taken_by(1) == holder


@pytest.mark.parametrize(
    ("environment", "advice"),
    [
        ({}, f"Stop it with `bidkit down` in {Path.cwd()}"),
        ({"BIDKIT_HOME": "/a home"}, "Stop it with `BIDKIT_HOME='/a home' bidkit down`"),
    ],
)
def test_another_run_of_bidkit_is_named(environment: dict[str, str], advice: str) -> None:
    with subprocess.Popen(
        (sys.executable, "-c", LISTENS, "pkg.devkit"),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())

        holder = taken_by(port)
        other.communicate()

    assert holder == f"another run of bidkit (process {other.pid}). {advice}"
