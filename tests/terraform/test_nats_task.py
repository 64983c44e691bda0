"""NATS' container as its task definition describes it, on a Docker engine."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from tests.terraform.conftest import Outcome

Definition = dict[str, Any]

PASSWORD = "n@3/h:8%Zp5sYc1Fb"
DATA = "/data:uid=10001,gid=10001,mode=700"
READY_WITHIN_S = 60.0


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=120, check=check
    )


def engine_answers() -> bool:
    return (
        shutil.which("docker") is not None
        and docker("version", "--format", "{{.Server.Version}}", check=False).returncode == 0
    )


pytestmark = pytest.mark.skipif(not engine_answers(), reason="needs a Docker engine")


@pytest.fixture(scope="module")
def definition(shown_dev: Outcome) -> Definition:
    """The container definition of dev's NATS."""
    plan = shown_dev.plan("plan", file="always")
    (task,) = (
        each["change"]["after"]
        for each in plan["resource_changes"]
        if each["type"] == "aws_ecs_task_definition"
        and each["change"]["after"]["family"] == "bidding-system-nats"
    )
    (container,) = json.loads(task["container_definitions"])
    assert isinstance(container, dict)
    return container


@contextmanager
def started(definition: Definition, *, entry_point: bool, command: bool = True) -> Iterator[str]:
    """Yields the container's id. Without `entry_point`, the definition's is ignored."""
    variables = {each["name"]: each["value"] for each in definition["environment"]}
    variables |= {each["name"]: PASSWORD for each in definition["secrets"]}
    own = definition.get("entryPoint", []) if entry_point else []
    ran = docker(
        *("run", "--detach", "--user", definition["user"], "--cap-drop", "ALL", "--tmpfs", DATA),
        *(["--read-only"] if definition["readonlyRootFilesystem"] else []),
        *(part for name, value in variables.items() for part in ("--env", f"{name}={value}")),
        *("--publish", "127.0.0.1::4222"),
        *(("--entrypoint", own[0]) if own else ()),
        os.environ.get("NATS_IMAGE") or definition["image"],
        *own[1:],
        *(definition.get("command", []) if command else []),
    )
    container = ran.stdout.strip()
    try:
        yield container
    finally:
        docker("rm", "--force", "--volumes", container)


def healthy(definition: Definition, container: str) -> bool:
    kind, *command = definition["healthCheck"]["command"]
    assert kind == "CMD-SHELL"
    return docker("exec", container, "sh", "-c", *command, check=False).returncode == 0


def becomes_healthy(definition: Definition, container: str) -> bool:
    deadline = time.monotonic() + READY_WITHIN_S
    while not (found := healthy(definition, container)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


@pytest.mark.parametrize("entry_point", [True, False], ids=["honoured", "ignored"])
async def test_nats_has_jetstream_and_refuses_wrong_passwords_whatever_becomes_of_entry_points(
    definition: Definition, *, entry_point: bool
) -> None:
    with started(definition, entry_point=entry_point) as container:
        assert becomes_healthy(definition, container), docker("logs", container).stderr
        address = docker("port", container, "4222").stdout.split()[0]

        client = await nats.connect(f"nats://{address}", user="bidding", password=PASSWORD)
        try:
            assert (await client.jetstream().account_info()).limits.max_storage != 0
        finally:
            await client.close()
        for user, password in (("bidding", f"{PASSWORD}!"), (None, None)):
            refused = Client()
            try:
                with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
                    await refused.connect(
                        f"nats://{address}", user=user, password=password, allow_reconnect=False
                    )
            finally:
                await refused.close()
        assert docker("exec", container, "id", "-u").stdout == "10001\n"


def test_a_server_without_password_and_jetstream_is_unhealthy(definition: Definition) -> None:
    """As an emulator starts it that ignores the command; NATS' own /healthz calls it healthy."""
    with started(definition, entry_point=False, command=False) as container:
        deadline = time.monotonic() + READY_WITHIN_S
        while "Server is ready" not in docker("logs", container).stderr:
            assert time.monotonic() < deadline
            time.sleep(0.2)

        assert not healthy(definition, container)
