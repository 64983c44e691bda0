"""A compose project: its files, its variables, and the commands that change it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pkg.devkit.compose.container import Container
from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.home import load
from pkg.devkit.names import SERVICES
from pkg.devkit.nats_users import RESTORE
from pkg.devkit.service_settings import STORES_STOP_WITHIN_S, stop_within_s
from pkg.devkit.settings import PROJECT
from pkg.devkit.signals import Check, no_check
from pkg.devkit.system import Desired

COMPOSE_FILE = PROJECT / "compose" / "compose.yaml"

_GRACE_S = 25.0
"""The grace period that compose.yaml gives a service."""


class Project:
    """The system's containers, volumes and network, as `desired` describes them."""

    def __init__(self, state_dir: StateDir, desired: Desired, engine: Engine | None = None) -> None:
        self.name = state_dir.project
        self.engine = engine or Engine()
        self._state_dir = state_dir
        self._desired = desired

    @property
    def variables(self) -> dict[str, str]:
        """Those of compose.yaml; they win over the environment of bidkit."""
        return {
            "EDGE_PORT": str(self._desired.edge_port),
            "API_PORT": str(self._desired.api_port),
            "BROADCAST_PORT": str(self._desired.broadcast_port),
            "BID_STRATEGY": self._desired.bid_strategy,
            "SECRETS_DIR": str(self._state_dir.secrets),
            "IMAGE_TAG": self._state_dir.image_tag,
        }

    def override(self, graces: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A second compose file for what compose.yaml has no variable for; its values win.

        `graces` are grace periods as `graces_of` returns them; without, compose.yaml's hold.
        """
        environment = {
            "BID_STRATEGY": self._desired.bid_strategy,
            "LOG_FORMAT": "text",
            # Compose would take a single dollar for the start of a variable.
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
        services[RESTORE] = {"environment": environment}
        return {"services": services}

    @property
    def graces(self) -> dict[str, str]:
        """The grace periods that the services were started with."""
        over = load(self._state_dir.override, dict[str, Any]) or {"services": {}}
        return {
            service: its["stop_grace_period"]
            for service, its in over["services"].items()
            if "stop_grace_period" in its
        }

    @property
    def ends_within_s(self) -> float:
        """How long the whole project may take to stop: services first, then their stores."""
        graces_s = [float(grace.removesuffix("s")) for grace in self.graces.values()]
        return max(graces_s, default=_GRACE_S) + STORES_STOP_WITHIN_S

    def command(self, *arguments: str, override: Path | None = None) -> list[str]:
        """`docker compose ARGUMENTS`, to be run with `environment`."""
        files = [str(file) for file in self.files(override)]
        chosen = [text for file in files for text in ("--file", file)]
        return ["docker", "compose", *chosen, "--project-name", self.name, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}

    def files(self, override: Path | None = None) -> tuple[Path, ...]:
        over = override or self._state_dir.override
        return (COMPOSE_FILE, over) if over.exists() else (COMPOSE_FILE,)

    def configuration(self, override: Path | None = None) -> dict[str, Any]:
        """The files with all variables filled in. Raises BidkitError when compose rejects them."""
        return self.engine.configuration(self, override)

    def containers(self) -> list[Container]:
        """Raises BidkitError."""
        return self.engine.containers(self.name)

    # Each of these raises ComposeFailed, or what `check` raises.

    def build(self, services: list[str], *, check: Check = no_check) -> None:
        self.engine.compose(self, "build", *services, check=check)

    def pull(self, services: list[str], *, check: Check = no_check) -> None:
        self.engine.compose(self, "pull", *services, check=check)

    def up(self, scales: Mapping[str, int] | None = None, *, check: Check = no_check) -> None:
        """Starts what is missing and leaves the rest as it is.

        With `scales`, only these services, each with that many containers.
        """
        only = "--no-deps" if scales else "--remove-orphans"
        numbers = [f"--scale={service}={number}" for service, number in (scales or {}).items()]
        self.engine.compose(
            self,
            *("up", "--detach", "--no-recreate", "--no-build", only),
            *(*numbers, *(scales or ())),
            check=check,
        )

    def restart(self, service: str, *, check: Check = no_check) -> None:
        self.engine.compose(self, "restart", service, check=check)

    def stop(self, *, check: Check = no_check) -> None:
        """Services before their stores, each within its grace period; their logs stay."""
        self.engine.compose(self, "stop", check=check)

    def down(self, *, volumes: bool, check: Check = no_check) -> None:
        """Stops as `stop` does, and removes containers, network and, if asked, volumes."""
        arguments = ("down", "--remove-orphans", *(("--volumes",) if volumes else ()))
        self.engine.compose(self, *arguments, check=check)

    def kill(self) -> None:
        self.engine.kill(self)


def environment_of(configuration: Mapping[str, Any], service: str) -> dict[str, str]:
    """As the service gets it: compose writes every dollar as two."""
    given: dict[str, str | None] = configuration["services"][service].get("environment") or {}
    return {name: value.replace("$$", "$") for name, value in given.items() if value is not None}


def graces_of(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Each service's grace period by its settings, in compose's notation."""
    return {
        service: f"{stop_within_s(environment_of(configuration, service)):g}s"
        for service in SERVICES
    }
