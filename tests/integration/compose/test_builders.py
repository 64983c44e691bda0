"""Docker's classic builder and BuildKit both build our images."""

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.devkit.conftest import ROOT, docker

pytestmark = pytest.mark.timeout(900)  # without a build cache

DOCKERFILES = sorted(
    file for folder in ("compose", "load-tests") for file in (ROOT / folder).rglob("*Dockerfile*")
)
BUILDKIT_ONLY = {
    "RUN --mount and the like": r"^\s*RUN\s+--\w+",
    "COPY --chmod, --link and the like": r"^\s*(COPY|ADD)\s+(--\S+\s+)*--(?!from=|chown=)\w+",
    "a here-document": r"^\s*(RUN|COPY|ADD)\b.*<<-?\s*[\"']?\w",
    "another frontend": r"\A#\s*syntax\s*=",
}
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("what", BUILDKIT_ONLY)
@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_no_dockerfile_needs_buildkit(file: Path, what: str) -> None:
    text = re.sub(r"\\\n", " ", file.read_text(encoding="utf-8"))

    found = re.search(BUILDKIT_ONLY[what], text, re.MULTILINE | re.IGNORECASE)

    assert found is None, found.group()


def documented_command() -> list[str]:
    """`docker build -t … --target api-gateway -f compose/Dockerfile .`"""
    text = (ROOT / "compose/Dockerfile").read_text(encoding="utf-8")
    (line,) = re.findall(r"^#\s+(docker build .*)$", text, re.MULTILINE)
    return shlex.split(line)


def build(tag: str, *, buildkit: bool, target: str | None = None) -> None:
    command = documented_command()
    command[command.index("-t") + 1] = tag
    if target:
        command[command.index("--target") + 1] = target
    base = os.environ.get("PYTHON_IMAGE")
    arguments = ["--build-arg", f"REVISION={REVISION}"]
    arguments += ["--build-arg", f"PYTHON_IMAGE={base}"] if base else []
    for index in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        arguments += ["--build-arg", index] if index in os.environ else []
    ran = subprocess.run(
        [*command[:2], *arguments, *command[2:]],
        cwd=ROOT,
        env={**os.environ, "DOCKER_BUILDKIT": str(int(buildkit))},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}"


def has_buildkit() -> bool:
    if not shutil.which("docker"):
        return False
    ran = subprocess.run(("docker", "buildx", "version"), capture_output=True, check=False)
    return ran.returncode == 0


@pytest.fixture(scope="module")
def tag() -> Iterator[str]:
    name = f"bidding-system/tests:{uuid4().hex[:8]}"
    yield name
    subprocess.run(("docker", "rmi", name), capture_output=True, check=False)


@pytest.fixture(scope="module")
def labels(tag: str) -> dict[str, str]:
    build(tag, buildkit=False)
    (image,) = json.loads(docker("image", "inspect", tag))
    return {
        name.removeprefix("org.opencontainers.image."): text
        for name, text in image["Config"]["Labels"].items()
    }


def test_documented_command_builds_and_labels_the_image(labels: dict[str, str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert labels["title"] == "api-gateway"
    assert labels["description"] == "Takes bids over HTTP and relays their events"
    assert labels["vendor"] == project["name"]
    assert labels["licenses"] == project["license"]
    assert labels["version"] == project["version"]
    assert labels["revision"] == REVISION


# The reason does not say docker: CI_REQUIRE=docker requires an engine, not BuildKit.
@pytest.mark.skipif(not has_buildkit(), reason="no BuildKit here: no buildx plugin")
def test_buildkit_builds_it_too(tag: str) -> None:
    build(tag, buildkit=True)

    assert docker("image", "inspect", "-f", "{{.Config.Cmd}}", tag).strip() == "[python -m pkg.api]"
