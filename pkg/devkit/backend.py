"""What a backend does for bidkit. The verbs are alike on all; how they come about is not."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Protocol
from urllib.parse import urlsplit

import msgspec

from pkg.devkit.errors import BadArgument
from pkg.devkit.names import API, EDGE
from pkg.devkit.service_settings import readers
from pkg.devkit.system import Desired, SystemStatus


class BackendName(StrEnum):
    PROCESS = "process"
    COMPOSE = "compose"


Say = Callable[[str], None]
"""Takes one line of progress, as soon as it is true."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked `up` for; None leaves it as it was the last time."""

    api_port: int | None = None
    broadcast_port: int | None = None
    edge_port: int | None = None
    bid_strategy: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def applied_to(self, desired: Desired) -> Desired:
        asked = {
            "api_port": self.api_port,
            "broadcast_port": self.broadcast_port,
            "edge_port": self.edge_port,
            "bid_strategy": self.bid_strategy,
        }
        return msgspec.structs.replace(
            desired,
            **{name: value for name, value in asked.items() if value is not None},
            settings={**desired.settings, **self.settings},
        )


@dataclass(frozen=True, slots=True)
class LogLine:
    replica: str
    text: str


STOPPING = "stopping everything, in order"
"""The event after which nothing that was shown of the start is true any more."""


class Watcher(Protocol):
    """Shows a system that is coming up, going down, or just running."""

    def status(self, now: SystemStatus) -> None: ...
    def event(self, line: str) -> None: ...
    def ready(self, now: SystemStatus) -> None: ...
    def already(self, now: SystemStatus) -> None:
        """It was running, and ready, before anyone asked."""


class Backend(Protocol):
    """Each method blocks until its work is done, and raises a BidkitError that says what to do."""

    name: ClassVar[BackendName]
    parts: ClassVar[tuple[str, ...]]
    """What its system consists of, by name."""

    def up(self, options: Options, *, detach: bool, watcher: Watcher) -> None:
        """Start everything and see it ready. Without `detach`, stay until interrupted.

        An interrupt before it is ready is raised as KeyboardInterrupt, once all is stopped again.
        """

    def down(self, *, volumes: bool, say: Say) -> None:
        """Says whether anything was running. `volumes` deletes all data, also then."""

    def status(self) -> SystemStatus:
        """Raises NotRunning."""

    def settings(self) -> Mapping[str, Mapping[str, str]]:
        """What each service was given, less secrets. Raises NotRunning."""

    def scale(self, replicas: Mapping[str, int], *, say: Say) -> None:
        """Returns when as many replicas are ready and no more are left."""

    def restart(self, service: str, *, say: Say) -> None:
        """A service: one replica at a time, the new one ready before the old one goes."""

    def logs(self, services: tuple[str, ...], *, last: int, follow: bool) -> Iterator[LogLine]: ...

    def audit(self, arguments: tuple[str, ...]) -> int:
        """The audit's exit code; it writes to this process's standard output."""

    def restore(self, arguments: tuple[str, ...]) -> int:
        """The exit code of restore; it asks at this process's terminal."""


def refuse_change(
    options: Options, now: SystemStatus, settings: Mapping[str, Mapping[str, str]]
) -> None:
    """Raises BadArgument unless the running system is what the options ask for.

    `settings` are what each service was given.
    """
    ports = {one.service: one.port for one in now.services}
    compared = (
        ("--api-port", options.api_port, urlsplit(now.api_url).port),
        ("--broadcast-port", options.broadcast_port, urlsplit(now.websocket_url).port),
        ("--edge-port", options.edge_port, ports.get(EDGE)),
        ("--bid-strategy", options.bid_strategy, settings[API]["BID_STRATEGY"]),
    )
    differs = [
        f"{option} is {has}, not {wanted}"
        for option, wanted, has in compared
        if wanted is not None and wanted != has
    ]
    # Not their values: they may be secrets.
    differs += [
        f"--set {name} differs"
        for name, value in options.settings.items()
        if any(value != settings[service].get(name) for service in readers(name))
    ]
    if differs:
        raise BadArgument(
            f"the system is already running with other options: {', '.join(differs)}. "
            "`bidkit down` stops it, its data stays."
        )
