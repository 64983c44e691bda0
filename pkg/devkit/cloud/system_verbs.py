"""The verbs on a deployed system, which are the same on AWS and on the emulator."""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pkg.devkit.backend import BackendName, LogLine, Say
from pkg.devkit.cloud.aws import Aws, Boto
from pkg.devkit.cloud.doctor import Deployed
from pkg.devkit.cloud.logs import Logs
from pkg.devkit.cloud.oneoff import OneOff, is_aside
from pkg.devkit.cloud.place import EMULATED_KEYS, Place
from pkg.devkit.cloud.services import ROLLED_WITHIN_S, Services
from pkg.devkit.cloud.state_dir import StateDir
from pkg.devkit.cloud.status import system_of, tasks_of
from pkg.devkit.errors import BadArgument, BidkitError, NotReady
from pkg.devkit.home import Home
from pkg.devkit.names import ARCHIVAL, EDGE, NATS, SERVICES, STORES
from pkg.devkit.nats_users import RESTORE
from pkg.devkit.signals import Check, cancellation
from pkg.devkit.system import SystemStatus

_DECLINED = 1
_LOOK_EVERY_S = 1.0


def aws_of(place: Place) -> Aws:
    if place.emulated:
        key, secret = EMULATED_KEYS.values()
        return Boto(place.region, place.endpoint, (key, secret))
    return Boto(place.region)


class SystemVerbs:
    name: ClassVar[BackendName]
    parts: ClassVar[tuple[str, ...]] = (*SERVICES, *STORES, EDGE)

    def __init__(self, home: Home, aws: Aws | None = None) -> None:
        self._home = home
        self._aws_given = aws
        self._state_dir = StateDir(home.folder, str(self.name))

    def deployed(self) -> Deployed:
        """Raises NotRunning, AwsRefused or WrongAccount."""
        system, outputs = self._state_dir.applied()
        return Deployed(system, outputs, self._aws())

    def status(self) -> SystemStatus:
        _, outputs = self._state_dir.applied()
        return system_of(self._aws(), outputs, backend=str(self.name))

    def settings(self) -> dict[str, dict[str, str]]:
        services = self._services()
        return {
            part: _environment(services.definition(services.names(part)[0])) for part in SERVICES
        }

    def scale(self, replicas: Mapping[str, int], *, say: Say) -> None:
        services = self._services()
        wanted = {services.names(part)[0]: count for part, count in replicas.items()}
        for name, count in wanted.items():
            services.check_scaling(name, count)
        with cancellation() as token:
            for name, count in wanted.items():
                services.scale(name, count, say=say, check=token.check)
            for part in replicas:
                self._await_ready(part, services, token.check)

    def restart(self, service: str, *, say: Say) -> None:
        if service not in {*SERVICES, NATS}:
            raise BadArgument(
                f"{service} is run by AWS, and bidkit does not restart it; "
                f"it restarts {', '.join((*SERVICES, NATS))}."
            )
        services = self._services()
        with cancellation() as token:
            # One by one: a quorum of NATS' servers must always be there.
            for name in services.names(service):
                services.roll([name], say=say, check=token.check)
                self._await_ready(service, services, token.check)

    def logs(self, services: tuple[str, ...], *, last: int, follow: bool) -> Iterator[LogLine]:
        return Logs(self._aws(), self._services()).read(services, last=last, follow=follow)

    def audit(self, arguments: tuple[str, ...]) -> int:
        return self._run(ARCHIVAL, ("audit", *arguments))

    def restore(self, arguments: tuple[str, ...]) -> int:
        return self._confirmed(RESTORE, ("restore", *arguments))

    def redrive(self, arguments: tuple[str, ...]) -> int:
        return self._confirmed(ARCHIVAL, ("redrive", *arguments))

    def _confirmed(self, family: str, command: tuple[str, ...]) -> int:
        """A task has no terminal: the plan is shown by one, and carried out by another."""
        if "--yes" in command or "--dry-run" in command:
            return self._run(family, command)
        code = self._run(family, (*command, "--dry-run"))
        if code or not confirmed("Carry this out? Type yes: ", "yes"):
            return code or _DECLINED
        return self._run(family, (*command, "--yes"))

    def _run(self, family: str, command: tuple[str, ...]) -> int:
        once = OneOff(self._aws(), self._services())
        with cancellation() as token:
            return once.run(family, command, show=_print, check=token.check)

    def _await_ready(self, part: str, services: Services, check: Check) -> None:
        """Until just the wanted tasks are there and ready: to ECS a task runs that is not healthy
        yet. Raises NotReady.
        """
        deadline = time.monotonic() + ROLLED_WITHIN_S
        while True:
            now = tasks_of(services, self._aws(), part)
            if now.ready == now.desired == len(now.replicas):
                return
            check()
            if time.monotonic() > deadline:
                raise NotReady(f"{part} has {now.ready} of {now.desired} ready.")
            time.sleep(_LOOK_EVERY_S)

    def _services(self) -> Services:
        _, outputs = self._state_dir.applied()
        return Services(self._aws(), outputs.ecs_cluster_name)

    def _aws(self) -> Aws:
        """Checked to be the one that is meant."""
        if self._aws_given is None:
            system, _ = self._state_dir.applied()
            aws = aws_of(system.place)
            system.place.check_account(aws)
            self._aws_given = aws
        return self._aws_given


def _environment(definition: Mapping[str, Any]) -> dict[str, str]:
    return {
        one["name"]: _one_line(one["value"])
        for container in definition["containerDefinitions"]
        for one in container.get("environment", ())
    }


def _one_line(text: str) -> str:
    """A certificate's first line is enough."""
    first, newline, _ = text.partition("\n")
    return f"{first} …" if newline else first


def confirmed(question: str, answer: str) -> bool:
    """Raises BidkitError without anybody to ask."""
    if not sys.stdin.isatty():
        raise BidkitError("there is no terminal to ask at; nothing was changed.")
    print(question, end="", flush=True)  # noqa: T201 - a question at the terminal
    return sys.stdin.readline().strip() == answer


def _print(line: str) -> None:
    stream = sys.stderr if is_aside(line) else sys.stdout
    print(line, file=stream, flush=True)
