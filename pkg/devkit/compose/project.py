"""Compose itself, driven through python-on-whales.

Where that library is in the way: it hands no environment to what it starts, hence env(1) in its
client call; and it lets go of a command whose output nobody reads on, so that following logs and
the one-off containers, which need our terminal, are processes of our own (`command`).
"""

import json
import os
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkg.devkit.compose.engine import complaint
from pkg.devkit.compose.place import Place
from pkg.devkit.errors import BidkitError
from pkg.devkit.names import SERVICES
from pkg.devkit.settings import PROJECT
from pkg.devkit.system import Desired

if TYPE_CHECKING:
    from python_on_whales import DockerClient

COMPOSE_FILE = PROJECT / "compose" / "compose.yaml"
_LAST_LINES = 12


class Project:
    """The system's containers, volumes and network, as `desired` wants them."""

    def __init__(self, place: Place, desired: Desired) -> None:
        self.name = place.project
        self._place = place
        self._desired = desired

    @property
    def variables(self) -> dict[str, str]:
        """Of compose.yaml; they go before those of the shell that bidkit runs in."""
        return {
            "EDGE_PORT": str(self._desired.edge_port),
            "API_PORT": str(self._desired.api_port),
            "BROADCAST_PORT": str(self._desired.broadcast_port),
            "BID_STRATEGY": self._desired.bid_strategy,
            "SECRETS_DIR": str(self._place.secrets),
            "IMAGE_TAG": self._place.image_tag,
        }

    def override(self) -> dict[str, Any]:
        """What compose.yaml has no variable for; its values win over the ones there."""
        environment = {
            "BID_STRATEGY": self._desired.bid_strategy,
            "LOG_FORMAT": "text",
            # A dollar is a variable's first letter to compose.
            **{name: value.replace("$", "$$") for name, value in self._desired.settings.items()},
        }
        return {
            "services": {
                service: {
                    "scale": self._desired.replicas.get(service, 1),
                    "environment": environment,
                }
                for service in SERVICES
            }
        }

    def command(self, *arguments: str, override: Path | None = None) -> list[str]:
        """`docker compose ARGUMENTS` as the library would run it, for `environment`."""
        files = [str(file) for file in self._files(override)]
        chosen = [text for file in files for text in ("--file", file)]
        return ["docker", "compose", *chosen, "--project-name", self.name, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}

    def configuration(self, override: Path | None = None) -> dict[str, Any]:
        """All of it with its variables filled in. Raises BidkitError for what compose refuses."""
        ran = subprocess.run(
            self.command("config", "--format", "json", override=override),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise complaint(ran.stderr)
        configuration: dict[str, Any] = json.loads(ran.stdout)
        return configuration

    def build(self, services: list[str]) -> None:
        """Raises BidkitError with the builder's last lines."""
        self._run("build", services)

    def pull(self, services: list[str]) -> None:
        """Raises BidkitError with the last lines."""
        self._run("pull", services)

    def up(self, scales: Mapping[str, int] | None = None) -> None:
        """Starts what is missing and leaves the rest as it is.

        With `scales`, only these services, at so many containers.
        """
        lines: list[str] = []
        output = self._whales.compose.up(
            list(scales) if scales else None,
            scales=dict(scales or {}),
            detach=True,
            recreate=False,
            no_build=True,
            remove_orphans=not scales,
            dependencies=not scales,
            stream_logs=True,
        )
        self._read(output, lines)

    def restart(self, service: str) -> None:
        self._guarded(lambda: self._whales.compose.restart(service))

    def kill(self) -> None:
        self._guarded(self._whales.compose.kill)

    def down(self, *, volumes: bool) -> None:
        """Services before their stores, each given its own time to end."""
        self._run("down", volumes=volumes, remove_orphans=True)

    def remove(self, container: str) -> None:
        """Ends it as its compose file says, and takes it away."""

        def gone() -> None:
            self._whales.container.stop(container)
            self._whales.container.remove(container, force=True)

        self._guarded(gone)

    @cached_property
    def _whales(self) -> "DockerClient":
        from python_on_whales import DockerClient  # half a second that other verbs need not pay

        given = [f"{name}={value}" for name, value in self.variables.items()]
        return DockerClient(
            client_call=["env", *given, "docker"],
            compose_files=list(self._files(None)),
            compose_project_name=self.name,
        )

    def _files(self, override: Path | None) -> tuple[Path, ...]:
        over = override or self._place.override
        return (COMPOSE_FILE, over) if over.exists() else (COMPOSE_FILE,)

    def _run(self, verb: str, *arguments: object, **options: object) -> None:
        method = getattr(self._whales.compose, verb)
        self._read(method(*arguments, stream_logs=True, **options), [])

    def _read(self, output: Any, lines: list[str]) -> None:  # noqa: ANN401 - the library's
        def all_of_it() -> None:
            for _, line in output or ():
                lines.append(line.decode(errors="replace").rstrip())
                del lines[:-_LAST_LINES]

        self._guarded(all_of_it, lines)

    def _guarded(self, work: Any, lines: list[str] | None = None) -> None:  # noqa: ANN401
        from python_on_whales import DockerException

        try:
            work()
        except DockerException as error:
            said = "\n".join(lines or []) or error.stderr or ""
            raise ComposeFailed(said) from error


class ComposeFailed(BidkitError):  # noqa: N818 - see errors.py
    """Compose gave up. What it had started may be running."""

    def __init__(self, said: str) -> None:
        self.lines = [line.strip() for line in said.splitlines() if line.strip()]
        super().__init__(str(complaint(said)))

    @property
    def is_impatient(self) -> bool:
        """A container that others depend on was not healthy soon enough for compose."""
        return any("dependency failed to start" in line for line in self.lines)
