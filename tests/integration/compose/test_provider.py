"""The tests' server containers behave as `Servers` says and do not outlive the tests."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from tests.integration.containers import OWNER, ContainerServers, end_leftovers
from tests.integration.devkit.conftest import docker

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def servers() -> Iterator[ContainerServers]:
    servers = ContainerServers()
    yield servers
    servers.end()


def ours() -> list[str]:
    return docker("ps", "-aq", "--filter", f"label={OWNER}={os.getpid()}").split()


def test_store_keeps_its_address_and_its_data_until_they_are_discarded(
    servers: ContainerServers,
) -> None:
    servers.start("redis")
    with Redis.from_url(servers.redis_url) as redis:
        redis.set("kept", "yes")

        servers.stop("redis")
        servers.start("redis")
        assert redis.get("kept") == b"yes"

        servers.kill("redis")
        servers.start("redis")
        assert redis.get("kept") == b"yes"

        servers.stop("redis")
        servers.discard_data("redis")
        servers.start("redis")
        assert redis.get("kept") is None


def test_end_removes_paused_and_running_containers_and_their_volumes(
    servers: ContainerServers,
) -> None:
    for name in servers.names:
        servers.start(name)
    servers.pause("redis")
    containers = ours()
    volumes = docker("inspect", "-f", "{{range .Mounts}}{{.Name}} {{end}}", *containers).split()
    assert len(containers) == 3
    assert volumes

    servers.end()

    assert ours() == []
    assert set(volumes).isdisjoint(docker("volume", "ls", "-q").split())


def test_containers_of_a_killed_run_are_removed_by_the_next() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    image = os.environ.get("REDIS_IMAGE", "redis:7-alpine")
    left = docker("run", "-d", "--label", f"{OWNER}={gone.pid}", image).strip()

    end_leftovers()

    assert left not in docker("ps", "-aq", "--no-trunc").split()


def test_two_runs_can_remove_the_same_leftovers_at_once() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    image = os.environ.get("REDIS_IMAGE", "redis:7-alpine")
    left = [docker("create", "--label", f"{OWNER}={gone.pid}", image).strip() for _ in range(8)]

    with ThreadPoolExecutor(4) as runs:
        for run in [runs.submit(end_leftovers) for _ in range(4)]:
            run.result()

    assert not set(left) & set(docker("ps", "-aq", "--no-trunc").split())
