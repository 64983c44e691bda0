"""What a backend does for bidkit. The verbs are alike on all; how they come about is not."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from pkg.devkit.system import SystemStatus

Say = Callable[[str], None]
"""Takes one line of progress, as soon as it is true."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked `up` for; None leaves it as it was the last time."""

    api_port: int | None = None
    broadcast_port: int | None = None
    bid_strategy: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogLine:
    replica: str
    text: str


class Watcher(Protocol):
    """Shows a system that is coming up, going down, or just running."""

    def status(self, now: SystemStatus) -> None: ...
    def event(self, line: str) -> None: ...
    def ready(self, now: SystemStatus) -> None: ...
    def already(self, now: SystemStatus) -> None:
        """It was running, and ready, before anyone asked."""


class Backend(Protocol):
    """Each method blocks until its work is done, and raises a BidkitError that says what to do."""

    name: ClassVar[str]

    def up(self, options: Options, *, detach: bool, watcher: Watcher) -> None:
        """Start everything and see it ready. Without `detach`, stay until interrupted."""

    def down(self, *, volumes: bool, say: Say) -> None:
        """Says whether anything was running. `volumes` deletes all data, also then."""

    def status(self) -> SystemStatus:
        """Raises NotRunning."""

    def settings(self) -> dict[str, str]:
        """What the services were given, less secrets. Raises NotRunning."""

    def scale(self, replicas: Mapping[str, int], *, say: Say) -> None:
        """Returns when as many replicas are ready and no more are left."""

    def restart(self, service: str, *, say: Say) -> None:
        """A service: one replica at a time, the new one ready before the old one goes."""

    def logs(self, services: tuple[str, ...], *, last: int, follow: bool) -> Iterator[LogLine]: ...

    def audit(self, arguments: tuple[str, ...]) -> int:
        """The audit's exit code; it writes to this process's standard output."""

    def restore(self, arguments: tuple[str, ...]) -> int:
        """The exit code of restore; it asks at this process's terminal."""
