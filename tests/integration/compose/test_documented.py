"""README's commands without bidkit work in a fresh checkout."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pkg.devkit.compose.images import provide
from pkg.devkit.compose.project import Project
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.ports import free_ports
from pkg.devkit.system import Desired
from tests.integration.compose.conftest import PASSWORDS
from tests.integration.compose.leftovers import NOTHING, owned, remaining
from tests.integration.devkit.conftest import ROOT

pytestmark = pytest.mark.timeout(900)  # the first test builds the images

README = (ROOT / "README.md").read_text(encoding="utf-8")
VARYING_FIELDS = {"event_id", "start_time", "message"}
"""Fields of a response that differ from run to run, or are text for people."""

Shell = Callable[[str], str]


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """Settings of a separate project that uses the images built by bidkit."""
    edge, api, broadcast = free_ports(3)
    state_dir = StateDir(ROOT / ".bidkit" / "documented")
    project = Project(state_dir, Desired())
    provide(project, project.configuration(), say=print)
    return {
        "COMPOSE_PROJECT_NAME": f"{state_dir.project}-documented",
        "IMAGE_TAG": state_dir.image_tag,
        "EDGE_PORT": str(edge),
        "API_PORT": str(api),
        "BROADCAST_PORT": str(broadcast),
    }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that compose reads; the images are built already."""
    folder = tmp_path_factory.mktemp("checkout")
    private = shutil.ignore_patterns("secrets", ".env", "services.env")
    shutil.copytree(ROOT / "compose", folder / "compose", ignore=private)
    shutil.copytree(ROOT / "terraform" / "nats", folder / "terraform" / "nats")
    return folder


@pytest.fixture(scope="module")
def shell(checkout: Path, variables: dict[str, str]) -> Shell:
    """Runs a command as a user types it, without a variable for the passwords."""
    environment = {name: text for name, text in os.environ.items() if name != "SECRETS_DIR"}

    def run(command: str) -> str:
        ran = subprocess.run(
            ["sh", "-c", command],
            cwd=checkout,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stderr}"
        return ran.stdout

    return run


@pytest.fixture(scope="module")
def up(shell: Shell, variables: dict[str, str]) -> Iterator[None]:
    commands = README.partition("Without bidkit:\n\n```sh\n")[2].partition("```")[0].splitlines()
    assert len(commands) == 2
    project = variables["COMPOSE_PROJECT_NAME"]
    with owned(project):
        try:
            for command in commands:
                shell(command)
            for port in ("EDGE_PORT", "API_PORT", "BROADCAST_PORT"):
                # 503 until the edge has found the services, as README says.
                shell(f"curl -fs --retry 15 --retry-delay 1 localhost:{variables[port]}/health")
            yield
        finally:
            shell("docker compose -f compose/compose.yaml down -v")
        assert remaining(project) == NOTHING


def documented_requests() -> list[tuple[str, dict[str, Any]]]:
    """README's curl commands, each with the response shown below it."""
    found = re.findall(r"```sh\n(curl [^\n]*)\n```\n```json\n(.*)\n```", README)
    return [(command, json.loads(answer)) for command, answer in found]


def test_responses_are_as_readme_shows_them(
    up: None, shell: Shell, variables: dict[str, str]
) -> None:
    assert len(documented_requests()) == 3
    for command, shown in documented_requests():
        result = json.loads(shell(command.replace(":8080/", f":{variables['API_PORT']}/")))

        assert result.keys() == shown.keys()
        assert {**result, **{name: shown[name] for name in VARYING_FIELDS & shown.keys()}} == shown


@pytest.mark.parametrize(
    ("port", "service"),
    [
        ("EDGE_PORT", "api-gateway"),
        ("API_PORT", "api-gateway"),
        ("BROADCAST_PORT", "broadcast-service"),
    ],
)
def test_every_port_answers(
    up: None, shell: Shell, variables: dict[str, str], port: str, service: str
) -> None:
    result = json.loads(shell(f"curl -s localhost:{variables[port]}/health"))

    assert (result["status"], result["service"]) == ("healthy", service)


def test_compose_finds_the_passwords_and_a_second_make_secrets_keeps_them(
    up: None, shell: Shell, checkout: Path
) -> None:
    before = {file: file.read_text() for file in (checkout / "compose/secrets").iterdir()}

    shell("sh compose/make-secrets")

    assert (checkout / "compose/.env").read_text() == "SECRETS_DIR=./secrets\n"
    assert {file.name for file in before} == set(PASSWORDS)
    assert {file: file.read_text() for file in before} == before
