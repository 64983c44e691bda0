"""Checks this machine for what bidkit needs."""

import errno
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pkg.devkit import docker_cli
from pkg.devkit.backend import Backend, BackendName
from pkg.devkit.cloud.doctor import examine as examine_cloud
from pkg.devkit.cloud.system_verbs import SystemVerbs
from pkg.devkit.compose import images
from pkg.devkit.compose.engine import Engine, compose_version
from pkg.devkit.errors import BidkitError
from pkg.devkit.process.wheels import Programs
from pkg.devkit.system import DEFAULT_API_PORT, DEFAULT_BROADCAST_PORT, DEFAULT_EDGE_PORT

_ASK_WITHIN_S = 10.0
_PORTS = {
    "--api-port": DEFAULT_API_PORT,
    "--broadcast-port": DEFAULT_BROADCAST_PORT,
}


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    well: bool
    says: str
    needed: bool = True
    """False if only some verbs and tests use it."""


def examine(backend: Backend) -> list[Finding]:
    programs, engine_found = Programs(), docker()
    return [
        Finding("python", well=True, says=f"{platform.python_version()} ({sys.executable})"),
        _program("redis-server", programs.redis_server),
        _program("nats-server", programs.nats_server),
        _program("postgres", lambda: programs.postgres_bin() / "postgres"),
        *_running(backend, edge=engine_found.well),
        *_containers(engine_found),
        _optional("terraform", "the Terraform tests"),
    ]


def docker() -> Finding:
    """Whether an engine answers; the command alone is not enough."""
    try:
        version = docker_cli.engine_version(within_s=_ASK_WITHIN_S)
    except BidkitError as error:
        return Finding("docker", well=False, says=docker_cli.reason(error), needed=False)
    return Finding("docker", well=True, says=f"engine {version}", needed=False)


def _containers(found: Finding) -> list[Finding]:
    if not found.well:
        return [found]
    try:
        version = compose_version(within_s=_ASK_WITHIN_S)
        missing = Engine().missing_images(images.needed(), within_s=_ASK_WITHIN_S)
    except BidkitError as error:
        return [found, Finding("docker compose", well=False, says=str(error), needed=False)]
    says = (
        f"lacks {', '.join(missing)}; `bidkit up --on compose` fetches them if a registry has them"
        if missing
        else "all are here"
    )
    return [
        found,
        Finding("docker compose", well=True, says=version, needed=False),
        Finding("images", well=not missing, says=says, needed=False),
    ]


def terraform() -> Finding:
    return _optional("terraform", "the Terraform tests")


def _program(name: str, find: Callable[[], Path]) -> Finding:
    try:
        path = find()
    except BidkitError as error:
        return Finding(name, well=False, says=str(error))
    asked = _ask(str(path), "--version")
    first = (asked.stdout.strip().splitlines() or ["does not run"])[0]
    return Finding(name, well=asked.returncode == 0, says=f"{first} ({path})")


def _optional(name: str, used_by: str) -> Finding:
    path = shutil.which(name)
    if not path:
        return Finding(name, well=False, says=f"not on PATH; {used_by} need it", needed=False)
    first = (_ask(name, "version").stdout.splitlines() or ["present"])[0]
    return Finding(name, well=True, says=f"{first} ({path})", needed=False)


def _running(backend: Backend, *, edge: bool) -> list[Finding]:
    """Processes have no edge, so they need no port for it."""
    try:
        status = backend.status()
    except BidkitError:
        ports = _PORTS | ({"--edge-port": DEFAULT_EDGE_PORT} if edge else {})
        return [
            Finding("system", well=True, says="not running"),
            *(port(option, number) for option, number in ports.items()),
        ]
    ready = sum(one.ready >= one.desired for one in status.services)
    says = f"running on {backend.name}, {ready} of {len(status.services)} services ready"
    return [Finding("system", well=status.ready, says=says)]


def port(option: str, number: int) -> Finding:
    """Whether `bidkit up` could use the port."""
    try:
        socket.create_server(("127.0.0.1", number)).close()
    except OSError as error:
        why = "taken by another program" if error.errno == errno.EADDRINUSE else error.strerror
        says = f"{why}; `bidkit up {option}` chooses another"
        return Finding(f"port {number}", well=False, says=says, needed=False)
    return Finding(f"port {number}", well=True, says="free")


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_ASK_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, returncode=1, stdout="", stderr=str(error))


def examine_deployment(backend: SystemVerbs) -> list[Finding]:
    """What is deployed, by the headings of the guide's troubleshooting."""
    found = examine_cloud(backend.deployed, account=backend.name is BackendName.AWS)
    return [Finding(subject, well=well, says=says) for subject, well, says in found]
