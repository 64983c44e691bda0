"""What every backend does for bidkit. Verbs behave alike on all of them."""

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
    CLOUD = "cloud"
    """An emulated AWS on this machine."""
    AWS = "aws"
    """The caller's account."""


Say = Callable[[str], None]
"""Takes one line of progress as soon as it is true."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `up`; None keeps what was set before."""

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
    ended: bool = False
    """Whether the replica no longer ran when its log was read."""


STOPPING = "stopping everything, in order"
"""The event after which nothing shown of the start is true any more."""


class Watcher(Protocol):
    """Shows a system that is coming up, going down, or just running."""

    def status(self, now: SystemStatus) -> None: ...
    def event(self, line: str) -> None: ...
    def ready(self, now: SystemStatus) -> None: ...
    def already(self, now: SystemStatus) -> None:
        """It was already running and ready."""


class Backend(Protocol):
    """Each method blocks until its work is done. Errors are BidkitErrors that say what to do."""

    name: ClassVar[BackendName]
    parts: ClassVar[tuple[str, ...]]
    """Names of the services, stores and edge of its system."""

    def up(self, options: Options, *, detach: bool, watcher: Watcher) -> None:
        """Starts everything and waits until it is ready. Without `detach`, stays until interrupted.

        An interrupt before everything is ready stops all of it, then raises KeyboardInterrupt.
        """

    def down(self, *, volumes: bool, say: Say) -> None:
        """Stops everything. `volumes` also deletes all data, even if nothing was running."""

    def status(self) -> SystemStatus:
        """Raises NotRunning."""

    def settings(self) -> Mapping[str, Mapping[str, str]]:
        """Each service's settings without secrets. Raises NotRunning."""

    def scale(self, replicas: Mapping[str, int], *, say: Say) -> None:
        """Returns when exactly that many replicas run and are ready."""

    def restart(self, service: str, *, say: Say) -> None:
        """Replaces replicas one by one; an old one stops only when the new one is ready."""

    def logs(self, services: tuple[str, ...], *, last: int, follow: bool) -> Iterator[LogLine]: ...

    def audit(self, arguments: tuple[str, ...]) -> int:
        """Writes to this process' standard output. Returns the audit's exit code."""

    def restore(self, arguments: tuple[str, ...]) -> int:
        """Asks at this process' terminal. Returns restore's exit code."""

    def redrive(self, arguments: tuple[str, ...]) -> int:
        """Asks at this process' terminal. Returns redrive's exit code."""


def refuse_change(
    options: Options, now: SystemStatus, settings: Mapping[str, Mapping[str, str]]
) -> None:
    """Raises BadArgument if the options ask for another system than the running one.

    `settings` are each service's.
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
    # Without the values: they may be secrets.
    differs += [
        f"--set {name} differs"
        for name, value in options.settings.items()
        if any(value != settings[service].get(name) for service in readers(name))
    ]
    if differs:
        raise BadArgument(
            f"the system is already running with other options: {', '.join(differs)}. "
            "`bidkit down` stops it and keeps its data."
        )
