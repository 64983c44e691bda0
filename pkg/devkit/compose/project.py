"""Compose itself: what takes its time is a command of our own, the rest goes through
python-on-whales.

That library keeps what it starts to itself, so that nobody can end it; it lets go of a command
whose output nobody reads on; and it hands on neither an environment nor a session, hence its client
call.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkg.devkit.compose.command import ComposeFailed, Look, nobody, run
from pkg.devkit.compose.engine import complaint
from pkg.devkit.compose.place import Place
from pkg.devkit.home import load
from pkg.devkit.names import SERVICES
from pkg.devkit.service_settings import STORES_STOP_WITHIN_S, stop_within_s
from pkg.devkit.settings import PROJECT
from pkg.devkit.system import Desired

if TYPE_CHECKING:
    from python_on_whales import DockerClient

_APART = "import os, sys; os.setsid(); os.execvp('env', sys.argv)"
"""What follows it runs in a session of its own, where Ctrl-C for bidkit does not reach it."""

COMPOSE_FILE = PROJECT / "compose" / "compose.yaml"

_GRACE_S = 25.0
"""What compose.yaml itself gives a service to end."""


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

    def override(self, graces: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What compose.yaml has no variable for; its values win over the ones there.

        `graces` as `graces_of` has them; without one, a service has what compose.yaml gives it.
        """
        environment = {
            "BID_STRATEGY": self._desired.bid_strategy,
            "LOG_FORMAT": "text",
            # A dollar is a variable's first letter to compose.
            **{name: value.replace("$", "$$") for name, value in self._desired.settings.items()},
        }
        services: dict[str, dict[str, Any]] = {
            service: {
                "scale": self._desired.replicas.get(service, 1),
                "environment": environment,
            }
            for service in SERVICES
        }
        for service, grace in (graces or {}).items():
            services[service]["stop_grace_period"] = grace
        return {"services": services}

    @property
    def graces(self) -> dict[str, str]:
        """Those that the services were started with."""
        over = load(self._place.override, dict[str, Any]) or {"services": {}}
        return {
            service: its["stop_grace_period"]
            for service, its in over["services"].items()
            if "stop_grace_period" in its
        }

    @property
    def ends_within_s(self) -> float:
        """What all of it may take to end: services, then their stores."""
        graces_s = [float(grace.removesuffix("s")) for grace in self.graces.values()]
        return max(graces_s, default=_GRACE_S) + STORES_STOP_WITHIN_S

    def command(self, *arguments: str, override: Path | None = None) -> list[str]:
        """`docker compose ARGUMENTS` as the library would run it, for `environment`."""
        files = [str(file) for file in self._files(override)]
        chosen = [text for file in files for text in ("--file", file)]
        return ["docker", "compose", *chosen, "--project-name", self.name, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}

    def configuration(self, override: Path | None = None) -> dict[str, Any]:
        """All of it with its variables filled in. Raises BidkitError when compose refuses it."""
        ran = subprocess.run(
            self.command("config", "--format", "json", override=override),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if ran.returncode:
            raise complaint(ran.stderr)
        configuration: dict[str, Any] = json.loads(ran.stdout)
        return configuration

    def build(self, services: list[str], *, look: Look = nobody) -> None:
        """Raises ComposeFailed with the builder's last lines."""
        self._run("build", *services, look=look)

    def pull(self, services: list[str], *, look: Look = nobody) -> None:
        """Raises ComposeFailed with the last lines."""
        self._run("pull", *services, look=look)

    def up(self, scales: Mapping[str, int] | None = None, *, look: Look = nobody) -> None:
        """Starts what is missing and leaves the rest as it is. Raises ComposeFailed.

        With `scales`, only these services, at so many containers.
        """
        only = "--no-deps" if scales else "--remove-orphans"
        numbers = [f"--scale={service}={number}" for service, number in (scales or {}).items()]
        self._run(
            *("up", "--detach", "--no-recreate", "--no-build", only),
            *(*numbers, *(scales or ())),
            look=look,
        )

    def restart(self, service: str, *, look: Look = nobody) -> None:
        self._run("restart", service, look=look)

    def kill(self) -> None:
        _guarded(self._whales.compose.kill)

    def down(self, *, volumes: bool, look: Look = nobody) -> None:
        """Services before their stores, each given its own time to end. Raises ComposeFailed."""
        self._run("down", "--remove-orphans", *(["--volumes"] if volumes else []), look=look)

    def stop(self, *, look: Look = nobody) -> None:
        """All that runs, in the order of `down`; what it said stays. Raises ComposeFailed."""
        self._run("stop", look=look)

    def end(self, containers: list[str]) -> None:
        """All at once; each has the time that its compose file gives it."""
        _guarded(lambda: self._whales.container.stop(containers))

    def remove(self, containers: list[str]) -> None:
        _guarded(lambda: self._whales.container.remove(containers, force=True))

    @cached_property
    def _whales(self) -> "DockerClient":
        from python_on_whales import DockerClient  # half a second that other verbs need not pay

        given = [f"{name}={value}" for name, value in self.variables.items()]
        return DockerClient(
            client_call=[sys.executable, "-SEc", _APART, *given, "docker"],
            compose_files=list(self._files(None)),
            compose_project_name=self.name,
        )

    def _files(self, override: Path | None) -> tuple[Path, ...]:
        over = override or self._place.override
        return (COMPOSE_FILE, over) if over.exists() else (COMPOSE_FILE,)

    def _run(self, *arguments: str, look: Look) -> None:
        run(self.command(*arguments), environment=self.environment, look=look)


def environment_of(configuration: Mapping[str, Any], service: str) -> dict[str, str]:
    """As the service gets it: a dollar is two in what compose prints, as in what it reads."""
    given: dict[str, str | None] = configuration["services"][service].get("environment") or {}
    return {name: value.replace("$$", "$") for name, value in given.items() if value is not None}


def graces_of(configuration: Mapping[str, Any]) -> dict[str, str]:
    """As compose writes them: what each service may take to end, by all that it is given."""
    return {
        service: f"{stop_within_s(environment_of(configuration, service)):g}s"
        for service in SERVICES
    }


def _guarded(work: Callable[[], object]) -> None:
    from python_on_whales import DockerException

    try:
        work()
    except DockerException as error:
        raise ComposeFailed(error.stderr or "") from error
