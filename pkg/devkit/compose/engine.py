"""The Docker engine as the compose backend uses it: one class, which tests replace.

Frequent queries use docker's command line directly: python-on-whales would inspect containers one
by one and takes half a second to import, which `bidkit get` should not pay.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkg.devkit.compose.command import ComposeFailed, run
from pkg.devkit.compose.container import Container, container_of
from pkg.devkit.docker_cli import (
    ANSWER_WITHIN_S,
    OR_PROCESSES,
    PROJECT_LABEL,
    NoEngine,
    ask,
    engine_version,
    failure,
    no_answer,
)
from pkg.devkit.errors import BidkitError
from pkg.devkit.signals import Check, no_check

if TYPE_CHECKING:
    from python_on_whales import DockerClient

    from pkg.devkit.compose.project import Project

_TRIES = 3
_COMPOSE_SINCE = (2, 24)
"""The first with optional `env_file`s (Compose file reference, `env_file`)."""

_OWN_SESSION = "import os, sys; os.setsid(); os.execvp('env', sys.argv)"
"""Python that runs its arguments in a session of their own, so that Ctrl-C does not end them."""


class Engine:
    """Every method raises BidkitError: NoEngine when no engine answers."""

    def check_versions(self) -> None:
        engine_version()
        compose_version()

    def containers(self, project: str) -> list[Container]:
        """The project's, stopped ones too, in order; without those of one-off commands."""
        for _ in range(_TRIES):
            label = f"label={PROJECT_LABEL}={project}"
            ids = ask("ps", "-aq", "--no-trunc", "--filter", label).split()
            if not ids:
                return []
            try:
                found: list[dict[str, Any]] = json.loads(ask("container", "inspect", *ids))
            except NoEngine:
                raise
            except BidkitError as error:
                if "No such container" in str(error):  # removed between the two queries
                    continue
                raise
            return sorted(
                (container_of(one) for one in found if not _is_oneoff(one)),
                key=lambda one: (one.service, one.number),
            )
        raise BidkitError("containers are starting and going too fast to be listed; try again.")

    def volumes(self, project: str) -> list[str]:
        return ask("volume", "ls", "-q", "--filter", f"label={PROJECT_LABEL}={project}").split()

    def networks(self, project: str) -> list[str]:
        return ask("network", "ls", "-q", "--filter", f"label={PROJECT_LABEL}={project}").split()

    def tail(self, container: str, lines: int) -> list[str]:
        """The last lines of a container's log, both streams; none if docker fails."""
        try:
            ran = subprocess.run(
                ("docker", "logs", "--tail", str(lines), container),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=ANSWER_WITHIN_S,
                check=False,
                start_new_session=True,
            )
        except (OSError, subprocess.TimeoutExpired):
            return []
        return ran.stdout.decode(errors="replace").splitlines() if ran.returncode == 0 else []

    def execute(self, container: str, *command: str) -> str:
        """The output of a command run inside a container."""
        return ask("exec", container, *command)

    def missing_images(
        self, names: Sequence[str], *, within_s: float = ANSWER_WITHIN_S
    ) -> list[str]:
        """Those that this engine does not hold."""
        listed = ask("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", within_s=within_s)
        held = {
            name for line in listed.splitlines() for name in (line, line.removesuffix(":latest"))
        }
        # Names with a digest, or with a registry spelled otherwise, are not in the list.
        return [
            name for name in names if name not in held and not _image_id(name, within_s=within_s)
        ]

    def image_ids(self, names: Sequence[str]) -> dict[str, str]:
        """By name; missing images are left out."""
        return {name: found for name in names if (found := _image_id(name))}

    def compose(self, project: "Project", *arguments: str, check: Check = no_check) -> None:
        """Runs `docker compose ARGUMENTS`. Raises ComposeFailed, or what `check` raises."""
        run(project.command(*arguments), environment=project.environment, check=check)

    def configuration(self, project: "Project", override: Path | None) -> dict[str, Any]:
        """What compose makes of its files and variables."""
        try:
            ran = subprocess.run(
                project.command("config", "--format", "json", override=override),
                env=project.environment,
                capture_output=True,
                text=True,
                timeout=ANSWER_WITHIN_S,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise no_answer(ANSWER_WITHIN_S) from None
        if ran.returncode:
            raise failure(ran.stderr)
        configuration: dict[str, Any] = json.loads(ran.stdout)
        return configuration

    def kill(self, project: "Project") -> None:
        """Every container of the project. Raises ComposeFailed, as `stop` and `remove` do."""
        _guarded(_whales(project).compose.kill)

    def stop(self, project: "Project", containers: list[str]) -> None:
        """All at once; each has the grace period that its compose file gives it."""
        _guarded(lambda: _whales(project).container.stop(containers))

    def remove(self, project: "Project", containers: list[str]) -> None:
        _guarded(lambda: _whales(project).container.remove(containers, force=True))


def compose_version(*, within_s: float = ANSWER_WITHIN_S) -> str:
    """Raises NoEngine, also when it is too old for our compose file."""
    try:
        version = ask("compose", "version", "--short", within_s=within_s).strip()
    except NoEngine:
        raise
    except BidkitError:  # docker has no such command
        version = ""
    if not version:
        raise NoEngine(
            "docker has no compose plugin",
            f"; install it (the package docker-compose-plugin), {OR_PROCESSES}",
        )
    number = re.match(r"v?(\d+)\.(\d+)", version)
    if number and tuple(map(int, number.groups())) < _COMPOSE_SINCE:
        since = ".".join(map(str, _COMPOSE_SINCE))
        raise NoEngine(
            f"docker's compose plugin is {version}, older than {since}",
            f"; install a newer one (the package docker-compose-plugin), {OR_PROCESSES}",
        )
    return version


def _image_id(name: str, *, within_s: float = ANSWER_WITHIN_S) -> str | None:
    try:
        return ask("image", "inspect", "--format", "{{.Id}}", name, within_s=within_s).strip()
    except NoEngine:
        raise
    except BidkitError:
        return None


def _is_oneoff(inspected: dict[str, Any]) -> bool:
    labels: dict[str, str] = inspected["Config"]["Labels"]
    return labels.get("com.docker.compose.oneoff") == "True"


def _whales(project: "Project") -> "DockerClient":
    """A client whose commands have the project's variables and a session of their own.

    The library offers neither, hence its `client_call`.
    """
    from python_on_whales import DockerClient  # half a second that other verbs need not pay

    given = [f"{name}={value}" for name, value in project.variables.items()]
    return DockerClient(
        client_call=[sys.executable, "-SEc", _OWN_SESSION, *given, "docker"],
        compose_files=list(project.files()),
        compose_project_name=project.name,
    )


def _guarded(work: Callable[[], object]) -> None:
    from python_on_whales import DockerException

    try:
        work()
    except DockerException as error:
        raise ComposeFailed(error.stderr or "") from error
