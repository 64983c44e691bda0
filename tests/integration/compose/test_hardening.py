"""What running containers may do, and how the stores are configured."""

import json
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.compose.conftest import ODD_PASSWORD, PASSWORDS
from tests.integration.devkit.conftest import Bidkit, docker

SERVICES = ("api-gateway", "broadcast-service", "archival-worker")
PARTS = (*SERVICES, "redis", "nats", "postgres", "edge")
MOST_BYTES = 220_000_000
LATE_S = 6.0
"""It takes 2 s on an idle machine; test machines are busier."""

TRIES, READY_WITHIN_S = 3, 30.0
"""A busy machine may stall, but not three times in a row."""

CONNECT_WITHOUT_PASSWORD = """
import socket
with socket.create_connection(("nats", 4222), timeout=5) as nats:
    nats.sendall(b'CONNECT {"verbose":false}\\r\\nPING\\r\\n')
    print(b"".join(iter(lambda: nats.recv(4096), b"")).decode())
"""
"""Prints what NATS sends to a client without a password until it closes the connection."""

VOLUMES = {
    "redis": ("redis-data", "/data", "/data/appendonlydir"),
    "nats": ("nats-data", "/data", "/data/jetstream/$G/streams/BID_EVENTS"),
    "postgres": (
        *("postgres-data", "/var/lib/postgresql/data"),
        "/var/lib/postgresql/data/pg_wal",
    ),
}

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("part", PARTS)
def test_no_container_runs_as_root(stack: Bidkit, part: str) -> None:
    for container in stack.inspect(part):
        _, *processes = docker("top", container["Id"], "-eo", "pid,uid").splitlines()

        assert processes
        assert not [line for line in processes if line.split()[1] == "0"]


@pytest.mark.parametrize("part", PARTS)
def test_no_container_can_write_to_its_root_file_system(stack: Bidkit, part: str) -> None:
    for container in stack.inspect(part):
        host = container["HostConfig"]

        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert not host["Privileged"]


def test_nothing_is_published_beyond_loopback(stack: Bidkit) -> None:
    for part in PARTS:
        for container in stack.inspect(part):
            bound = container["NetworkSettings"]["Ports"] or {}
            hosts = {one["HostIp"] for each in bound.values() for one in each or ()}

            assert hosts <= ({"127.0.0.1"} if part == "edge" else set())


def test_no_password_is_in_docker_inspect_or_a_command_line(stack: Bidkit) -> None:
    for part in PARTS:
        for container in stack.inspect(part):
            inspected = json.dumps(container)
            running = docker("top", container["Id"], "-eo", "pid,args")

            for name in PASSWORDS:
                assert json.dumps(ODD_PASSWORD + name)[1:-1] not in inspected
                assert ODD_PASSWORD + name not in running


@pytest.mark.parametrize("service", SERVICES)
def test_image_holds_only_the_interpreter_and_its_own_service(stack: Bidkit, service: str) -> None:
    (container, *_) = stack.inspect(service)
    (image,) = json.loads(docker("image", "inspect", container["Image"]))
    config = image["Config"]

    assert image["Size"] < MOST_BYTES
    assert config["User"] == "10001:10001"
    assert config["Cmd"][:2] == ["python", "-m"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["Labels"]["org.opencontainers.image.title"] == service
    look = (
        "import importlib.util as u, os, shutil;"
        "files = [os.path.join(f, n) for f, _, ns in os.walk('/') if f[:5] != '/proc' for n in ns];"
        "print([n for n in ('pip','setuptools','ensurepip','pkg.devkit') if u.find_spec(n)],"
        "[n for n in ('gcc','cc','pip') if shutil.which(n)],"
        "[f for f in files if os.lstat(f).st_mode & 0o6000], sorted(os.listdir('/app/pkg')))"
    )
    result = docker("run", "--rm", "--network=none", image["Id"], "python", "-c", look)
    package = {"api-gateway": "api", "broadcast-service": "broadcast"}.get(service, "archival")
    parts = sorted(["__init__.py", "__pycache__", "auction", "runtime", "stores", package])
    assert result.strip() == f"[] [] [] {parts}"


@pytest.mark.parametrize("service", SERVICES)
def test_service_is_ready_soon_after_its_start(stack: Bidkit, service: str) -> None:
    """With running stores. Includes the time of `docker start` and `docker exec`."""
    container = stack.inspect(service)[0]
    check = container["Config"]["Healthcheck"]["Test"][1:]
    took: list[float] = []

    while not took or (len(took) < TRIES and took[-1] >= LATE_S):
        docker("stop", "-t", "25", container["Id"])
        took.append(_start_s(container["Id"], check))

    print(f"{service} ready after {took} s")  # noqa: T201 - shown by -s
    assert took[-1] < LATE_S, took


def _start_s(container: str, check: list[str]) -> float:
    began = time.monotonic()
    docker("start", container)
    while time.monotonic() - began < READY_WITHIN_S:
        with suppress(subprocess.CalledProcessError):
            docker("exec", container, *check)
            break
    return time.monotonic() - began


def test_secrets_are_not_in_the_build_context() -> None:
    ignored = (Path(__file__).resolve().parents[3] / ".dockerignore").read_text().splitlines()

    assert "*" in ignored
    assert not any("secrets" in line for line in ignored if line.startswith("!"))


def inside(stack: Bidkit, service: str, *command: str) -> str:
    container = stack.inspect(service)[0]
    return docker("exec", container["Id"], *command)


def setting(stack: Bidkit, name: str) -> str:
    ask = f'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli CONFIG GET {name}'
    return inside(stack, "redis", "sh", "-c", ask).splitlines()[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("maxmemory-policy", "noeviction"),
        ("dir", "/data"),
    ],
)
def test_redis_is_configured_as_compose_yaml_says(stack: Bidkit, name: str, value: str) -> None:
    assert setting(stack, name) == value


def test_redis_refuses_bids_before_its_container_runs_out_of_memory(stack: Bidkit) -> None:
    (container,) = stack.inspect("redis")

    assert 0 < int(setting(stack, "maxmemory")) < container["HostConfig"]["Memory"]


@pytest.mark.parametrize("store", VOLUMES)
def test_store_keeps_its_data_on_its_volume(stack: Bidkit, store: str) -> None:
    volume, mounted, data = VOLUMES[store]
    (container,) = stack.inspect(store)

    volumes = {
        one["Destination"]: one["Name"] for one in container["Mounts"] if one["Type"] == "volume"
    }
    assert volumes[mounted] == f"{stack.project}_{volume}"
    assert inside(stack, store, "ls", "-A", data).split()


def test_nats_rejects_a_client_without_a_password(stack: Bidkit) -> None:
    result = inside(stack, "api-gateway", "python", "-c", CONNECT_WITHOUT_PASSWORD)

    assert "Authorization Violation" in result
    assert "PONG" not in result


def test_redis_and_postgres_reject_a_client_without_a_password(stack: Bidkit) -> None:
    assert inside(stack, "redis", "redis-cli", "ping").startswith("NOAUTH")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        inside(
            stack, "postgres", "sh", "-c", "psql -w -h postgres -U bidding -c 'SELECT 1' bidding"
        )
    assert "no password supplied" in refused.value.stderr
