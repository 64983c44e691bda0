"""The guide's deployment commands, as bidkit runs them."""

import os
import re
from pathlib import Path

import pytest

from pkg.devkit.cloud import release
from pkg.devkit.cloud.place import Place
from pkg.devkit.errors import BidkitError
from pkg.devkit.signals import no_check
from tests.unit.devkit.cloud.fake_aws import COMMANDS, REGISTRY, quiet

EMULATED = Place(endpoint="http://127.0.0.1:4566")
ON_AWS = COMMANDS.replace(REGISTRY, "123456789012.dkr.ecr.us-east-1.amazonaws.com")


def test_commands_are_told_apart() -> None:
    found = release.parse(COMMANDS)

    assert [line.split()[1] for line in found.docker] == ["build", "tag", "push"]
    assert found.registry == REGISTRY
    assert found.services == ("bidding-system-api-gateway",)


@pytest.mark.parametrize("line", ["rm -rf /", "docker run x", "aws s3 ls"])
def test_unknown_command_is_refused_not_skipped(line: str) -> None:
    with pytest.raises(BidkitError, match=f"does not know this deployment command: {line}"):
        release.parse(f"{COMMANDS}\n{line}")


@pytest.mark.parametrize("kind", ["docker push", "aws ecs update-service", "aws ecr"])
def test_incomplete_commands_are_refused(kind: str) -> None:
    rest = [line for line in COMMANDS.splitlines() if not line.startswith(kind)]
    if kind == "docker push":
        rest = [line for line in rest if not line.startswith("docker")]

    with pytest.raises(BidkitError, match="incomplete"):
        release.parse("\n".join(rest))


@pytest.mark.parametrize(
    ("commands", "place", "registry"),
    [
        (ON_AWS, EMULATED, REGISTRY),
        (COMMANDS, Place(), None),
        (COMMANDS, EMULATED, "localhost:4567"),
        (COMMANDS.replace(f"docker push {REGISTRY}", "docker push docker.io"), EMULATED, REGISTRY),
    ],
)
def test_nothing_is_pushed_to_another_place(
    commands: str, place: Place, registry: str | None
) -> None:
    with pytest.raises(BidkitError, match="nothing was pushed"):
        release.check_registry(release.parse(commands), place, registry)


def test_right_registries_are_accepted() -> None:
    release.check_registry(release.parse(COMMANDS), EMULATED, REGISTRY)
    release.check_registry(release.parse(ON_AWS), Place(), None)


def test_builds_get_the_base_image_and_index_of_the_environment(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$*" >>{calls}\n')
    docker.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON_IMAGE": "my/python"}
    said: list[str] = []

    release.push(release.parse(COMMANDS), environment, say=said.append, check=no_check)

    build, tag, push = calls.read_text().splitlines()
    assert build.startswith("build --build-arg PYTHON_IMAGE=my/python --build-arg REVISION=")
    assert re.search(r"REVISION=[0-9a-f]{40} ", build)
    assert tag.endswith(f" {REGISTRY}/bidding-system/api-gateway:latest")
    assert push == f"push {REGISTRY}/bidding-system/api-gateway:latest"
    assert said == [
        "building the image bidding-system/api-gateway:latest",
        f"pushing {REGISTRY}/bidding-system/api-gateway:latest",
    ]


def test_failure_is_shown_with_its_last_words(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho no space left; exit 1\n")
    docker.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    with pytest.raises(BidkitError, match=r"(?s)docker build .* ended with:\n  no space left"):
        release.push(release.parse(COMMANDS), environment, say=quiet, check=no_check)
