"""The whole system of a home: prepared, started, and taken down."""

from collections.abc import Mapping
from typing import Any

from pkg.devkit.backend import Options, Say
from pkg.devkit.compose import engine, images, logs
from pkg.devkit.compose.command import ComposeFailed, Look, nobody
from pkg.devkit.compose.passwords import make_passwords
from pkg.devkit.compose.place import Place
from pkg.devkit.compose.project import Project, environment_of, graces_of
from pkg.devkit.errors import BadArgument, NotReady, PortTaken, UnusableData
from pkg.devkit.home import Home, load, save
from pkg.devkit.listening import listen
from pkg.devkit.names import API, BROADCAST, EDGE, SERVICES
from pkg.devkit.service_settings import check_together
from pkg.devkit.system import Desired

_SECRETS_IN_CONTAINERS = "/run/secrets/"


class Stack:
    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def desired(self) -> Desired:
        return load(self._place.desired, Desired) or Desired()

    @property
    def project(self) -> Project:
        return Project(self._place, self.desired)

    def prepare(self, options: Options, *, say: Say, look: Look) -> None:
        """Everything that can be refused, before anything is started.

        Raises BadArgument, PortTaken, UnusableData or what images or `look` raise, having started
        nothing and, but for the last two, remembered nothing.
        """
        desired = options.applied_to(self.desired)
        _check_ports(desired)
        self._place.folder.mkdir(parents=True, exist_ok=True)
        self._make_secrets()
        project, proposed = Project(self._place, desired), self._place.proposed
        save(proposed, project.override())
        try:
            configuration = project.configuration(proposed)
            self._check_settings(configuration)
            save(proposed, project.override(graces_of(configuration)))
            proposed.replace(self._place.override)
        finally:
            proposed.unlink(missing_ok=True)
        save(self._place.desired, desired)
        images.provide(project, configuration, say=say, look=look)

    def renew_images(self, *, say: Say, look: Look) -> None:
        project = self.project
        images.renew(project, project.configuration(), say=say, look=look)

    def remember(self, desired: Desired) -> None:
        save(self._place.desired, desired)
        project = Project(self._place, desired)
        save(self._place.override, project.override(project.graces))

    def start(self, look: Look, *, was_running: bool = False, heed: Look = nobody) -> None:
        """Until compose is content. Raises PortTaken, ComposeFailed or what `look` raises.

        `heed` looks on while what was started is taken down again. Where it `was_running` before,
        it is left as it is, and NotReady raised.
        """
        self._place.running.touch()
        try:
            self.project.up(look=look)
        except ComposeFailed as error:
            if not error.taken_port:
                raise
            if was_running:  # also for somebody else, who may look on
                raise NotReady(
                    f"another program has taken a port of the system's: {error.taken_port}. "
                    "Everything else keeps running; `bidkit down` stops it."
                ) from error
            self.take_down(look=heed)
            self._place.running.unlink(missing_ok=True)
            raise PortTaken(f"a port was taken meanwhile: {error.taken_port}") from error

    def take_down(self, *, look: Look = nobody) -> None:
        """Containers end, in order, and go; what they said last stays in the home's logs."""
        if engine.containers(self._place.project):
            self.project.stop(look=look)
            found = engine.containers(self._place.project)
            logs.keep(found, Home(self._place.home), afresh=True)
        self.project.down(volumes=False, look=look)

    def settings(self) -> dict[str, dict[str, str]]:
        """What each service is given."""
        configuration = self.project.configuration()
        return {service: environment_of(configuration, service) for service in SERVICES}

    def has_data(self) -> bool:
        return self._place.desired.exists() or bool(engine.volumes(self._place.project))

    def forget(self) -> None:
        """After the volumes are gone: without them their passwords open nothing."""
        for file in (self._place.desired, self._place.override):
            file.unlink(missing_ok=True)
        if self._place.secrets.exists():
            for file in self._place.secrets.iterdir():
                file.unlink()
            self._place.secrets.rmdir()

    def _make_secrets(self) -> None:
        if not self._place.secrets.exists() and (kept := engine.volumes(self._place.project)):
            raise UnusableData(
                f"the passwords of the data in {', '.join(kept)} are gone with "
                f"{self._place.secrets}; `bidkit down --volumes --on compose` deletes that data."
            )
        make_passwords(self._place.secrets)

    def _check_settings(self, configuration: Mapping[str, Any]) -> None:
        """Raises BadArgument when a service would not start with what it is given."""
        for service in SERVICES:
            given = environment_of(configuration, service)
            check_together(service, {name: self._here(value) for name, value in given.items()})

    def _here(self, value: str) -> str:
        """A secret's file in a container is one of ours here."""
        if value.startswith(_SECRETS_IN_CONTAINERS):
            return str(self._place.secrets / value.removeprefix(_SECRETS_IN_CONTAINERS))
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
