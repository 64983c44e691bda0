"""Runs bidkit as a command, each test with its own home folder and ports."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.ports import free_ports
from tests.integration.compose.leftovers import NOTHING, end_leftovers, owned, remaining

ROOT = Path(__file__).resolve().parents[3]

BACKENDS = tuple(os.environ.get("TEST_BACKENDS", "process").split(","))
"""The backends that the tests in `backends` run on: all must pass the same tests."""

_BUILT_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str


class Bidkit:
    def __init__(self, home: Path, *, backend: str) -> None:
        self.home = home
        self.api_port, self.broadcast_port, self.edge_port = free_ports(3)
        self.backend = backend

    def __call__(self, *arguments: str, within_s: float = 60.0) -> Result:
        ran = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        assert "Traceback" not in ran.stderr, ran.stderr
        return Result(ran.returncode, ran.stdout, ran.stderr)

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-P", "-m", "pkg.devkit", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "BIDKIT_HOME": str(self.home),
            "BIDKIT_ON": self.backend,
        }

    @property
    def ports(self) -> list[str]:
        """Options that give this home its own ports, so that several systems can run at once."""
        ports = [f"--api-port={self.api_port}", f"--broadcast-port={self.broadcast_port}"]
        edge = [f"--edge-port={self.edge_port}"] if self.backend == "compose" else []
        return [*ports, *edge]

    def up(self, *arguments: str) -> Result:
        # On compose the first `up` builds the images.
        return self("up", "-d", *self.ports, *arguments, within_s=_BUILT_WITHIN_S)

    def start(self, *arguments: str) -> None:
        ran = self.up(*arguments)
        assert ran.code == 0, f"{ran.out}{ran.err}{self.logs()}"

    def get(self, service: str) -> dict[str, Any]:
        ran = self("get", service, "-o", "json")
        assert ran.code == 0, ran.err
        status: dict[str, Any] = json.loads(ran.out)
        return status

    def pids(self, service: str) -> set[int]:
        return {replica["pid"] for replica in self.get(service)["replicas"]}

    def processes(self) -> list[psutil.Process]:
        """All processes of the system, their children, and the supervisor if there is one."""
        ran = self("get", "-o", "json")
        services = json.loads(ran.out)["services"] if ran.code == 0 else []
        pids = [one["pid"] for service in services for one in service["replicas"] if one["pid"]]
        if self.backend == "process":
            pids.append(self.supervisor)
        parents = [psutil.Process(pid) for pid in pids]
        return [*parents, *(child for one in parents for child in one.children(recursive=True))]

    @property
    def supervisor(self) -> int:
        pid: int = json.loads((self.home / "supervisor.json").read_text())["pid"]
        return pid

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def project(self) -> str:
        """The name of this home's compose project."""
        return StateDir(self.home).project

    def logs(self) -> str:
        if self.backend == "compose":
            return self("logs", "-n", "20").out
        logs = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"=== {log.name} ===\n{log.read_text()[-2000:]}" for log in logs)

    def inspect(self, service: str) -> list[dict[str, Any]]:
        """The output of `docker inspect` for a service's containers."""
        ids = docker(
            *("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}"),
            *("--filter", f"label=com.docker.compose.service={service}"),
        ).split()
        found: list[dict[str, Any]] = json.loads(docker("inspect", *ids)) if ids else []
        return found


def docker(*arguments: str) -> str:
    return subprocess.run(
        ("docker", *arguments), capture_output=True, text=True, timeout=60, check=True
    ).stdout


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; zombies do not count."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def removed_afterwards(kit: Bidkit) -> Iterator[Bidkit]:
    """Stops the system and deletes its data. If our process is killed, the next run does that."""
    with owned(kit.project) if kit.backend == "compose" else nullcontext():
        try:
            yield kit
        finally:
            down = kit("down", "--volumes", within_s=150)
        assert down.code == 0, down.err
        if kit.backend == "compose":
            assert remaining(kit.project) == NOTHING


@pytest.fixture(scope="session")
def no_leftovers() -> None:
    if "compose" in BACKENDS:
        end_leftovers()


@pytest.fixture
def bidkit(no_leftovers: None, backend: str, tmp_path: Path) -> Iterator[Bidkit]:
    """bidkit with nothing running. What the test starts is stopped and deleted afterwards."""
    with removed_afterwards(Bidkit(tmp_path / "home", backend=backend)) as kit:
        yield kit
        print(kit.logs())  # noqa: T201 - pytest shows it for failed tests


@pytest.fixture(scope="module")
def running(
    no_leftovers: None, backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bidkit]:
    """A running system that a module's tests share; each must leave it working."""
    home = tmp_path_factory.mktemp("running") / "home"
    with removed_afterwards(Bidkit(home, backend=backend)) as kit:
        kit.start()
        yield kit
