"""A home's whole system: prepared, started and taken down."""

from collections.abc import Mapping
from typing import Any

from pkg.devkit.backend import Options, Say
from pkg.devkit.compose import images, logs
from pkg.devkit.compose.command import ComposeFailed
from pkg.devkit.compose.container import Container
from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.passwords import make_passwords
from pkg.devkit.compose.project import Project, environment_of, graces_of
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import BadArgument, NotReady, PortTaken, UnusableData
from pkg.devkit.home import Home, load, save
from pkg.devkit.listening import listen
from pkg.devkit.names import API, BROADCAST, EDGE, SERVICES
from pkg.devkit.service_settings import check_together
from pkg.devkit.signals import Check, no_check
from pkg.devkit.system import Desired

_SECRETS_IN_CONTAINERS = "/run/secrets/"


class Stack:
    def __init__(self, state_dir: StateDir, engine: Engine | None = None) -> None:
        self.engine = engine or Engine()
        self._state_dir = state_dir

    @property
    def desired(self) -> Desired:
        return load(self._state_dir.desired, Desired) or Desired()

    @property
    def project(self) -> Project:
        return self._project(self.desired)

    def containers(self) -> list[Container]:
        return self.engine.containers(self._state_dir.project)

    def networks(self) -> list[str]:
        return self.engine.networks(self._state_dir.project)

    def prepare(self, options: Options, *, say: Say, check: Check) -> None:
        """Checks and stores everything that can be refused, and provides the images.

        Raises BadArgument, PortTaken or UnusableData with nothing stored; what building images or
        `check` raise, with `options` stored. Nothing is started.
        """
        desired = options.applied_to(self.desired)
        _check_ports(desired)
        self._state_dir.folder.mkdir(parents=True, exist_ok=True)
        self._make_secrets()
        project, proposed = self._project(desired), self._state_dir.proposed
        save(proposed, project.override())
        try:
            configuration = project.configuration(proposed)
            self._check_settings(configuration)
            save(proposed, project.override(graces_of(configuration)))
            proposed.replace(self._state_dir.override)
        finally:
            proposed.unlink(missing_ok=True)
        save(self._state_dir.desired, desired)
        images.provide(project, configuration, say=say, check=check)

    def renew_images(self, *, say: Say, check: Check) -> None:
        project = self.project
        images.renew(project, project.configuration(), say=say, check=check)

    def remember(self, desired: Desired) -> None:
        save(self._state_dir.desired, desired)
        project = self._project(desired)
        save(self._state_dir.override, project.override(project.graces))

    def start(
        self, check: Check, *, was_running: bool = False, check_undo: Check = no_check
    ) -> None:
        """Returns when compose has started everything. Raises ComposeFailed or what `check` raises.

        When a port is taken, takes everything down again, calling `check_undo` meanwhile, and
        raises PortTaken; if it `was_running` before, leaves it as it is and raises NotReady.
        """
        self._state_dir.running.touch()
        try:
            self.project.up(check=check)
        except ComposeFailed as error:
            if not error.taken_port:
                raise
            if was_running:  # it may belong to another bidkit
                raise NotReady(
                    f"another program has taken a port of the system's: {error.taken_port}. "
                    "Everything else keeps running; `bidkit down` stops it."
                ) from error
            self.take_down(check=check_undo)
            self._state_dir.running.unlink(missing_ok=True)
            raise PortTaken(f"a port was taken meanwhile: {error.taken_port}") from error

    def take_down(self, *, check: Check = no_check) -> None:
        """Stops and removes all containers in order, and keeps their last log lines."""
        if self.containers():
            self.project.stop(check=check)
            home = Home(self._state_dir.home)
            logs.keep(self.engine, self.containers(), home, afresh=True)
        self.project.down(volumes=False, check=check)

    def settings(self) -> dict[str, dict[str, str]]:
        """The environment of each service."""
        configuration = self.project.configuration()
        return {service: environment_of(configuration, service) for service in SERVICES}

    def has_data(self) -> bool:
        return self._state_dir.desired.exists() or bool(
            self.engine.volumes(self._state_dir.project)
        )

    def forget(self) -> None:
        """After the volumes were deleted: the passwords were theirs."""
        for file in (self._state_dir.desired, self._state_dir.override):
            file.unlink(missing_ok=True)
        if self._state_dir.secrets.exists():
            for file in self._state_dir.secrets.iterdir():
                file.unlink()
            self._state_dir.secrets.rmdir()

    def _project(self, desired: Desired) -> Project:
        return Project(self._state_dir, desired, self.engine)

    def _make_secrets(self) -> None:
        if not self._state_dir.secrets.exists() and (
            kept := self.engine.volumes(self._state_dir.project)
        ):
            raise UnusableData(
                f"the passwords of the data in {', '.join(kept)} are gone with "
                f"{self._state_dir.secrets}; "
                "`bidkit down --volumes --on compose` deletes that data."
            )
        make_passwords(self._state_dir.secrets)

    def _check_settings(self, configuration: Mapping[str, Any]) -> None:
        """Raises BadArgument when a service would refuse to start with its environment."""
        for service in SERVICES:
            given = environment_of(configuration, service)
            check_together(service, {name: self._on_host(value) for name, value in given.items()})

    def _on_host(self, value: str) -> str:
        """A secret's path in a container, as the path of the same file on the host."""
        if value.startswith(_SECRETS_IN_CONTAINERS):
            return str(self._state_dir.secrets / value.removeprefix(_SECRETS_IN_CONTAINERS))
        return value


def _check_ports(desired: Desired) -> None:
    options = {API: "--api-port", BROADCAST: "--broadcast-port", EDGE: "--edge-port"}
    ports = {API: desired.api_port, BROADCAST: desired.broadcast_port, EDGE: desired.edge_port}
    for name, port in ports.items():
        same = [other for other in ports if ports[other] == port]
        if len(same) > 1:
            chosen = " and ".join(options[other] for other in same)
            raise BadArgument(
                f"{' and '.join(same)} cannot both serve on port {port}; choose with {chosen}."
            )
        listen(name, port).close()
