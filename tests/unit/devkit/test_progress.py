import errno
import io

import pytest
from rich.console import Console

from pkg.devkit.backend import STOPPING
from pkg.devkit.errors import NotReady
from pkg.devkit.names import SERVICES, STORES
from pkg.devkit.progress import Progress
from pkg.devkit.system import ReplicaStatus, ServiceStatus, SystemStatus


def system(*ready: str) -> SystemStatus:
    def service(name: str) -> ServiceStatus:
        is_ready = name in ready
        phase = "ready" if is_ready else "starting"
        replica = ReplicaStatus(f"{name}-1", phase, ready=is_ready, restarts=0)
        kind = "store" if name in STORES else "service"
        return ServiceStatus(name, kind, int(is_ready), 1, 0, 1, (replica,))

    services = tuple(service(name) for name in (*SERVICES, *STORES))
    return SystemStatus("process", "http://127.0.0.1:8080", "ws://127.0.0.1:8081", services)


class Terminal:
    def __init__(self, *, interactive: bool) -> None:
        self._file = io.StringIO()
        self.console = Console(
            file=self._file, width=80, force_terminal=interactive, color_system=None
        )

    @property
    def shown(self) -> str:
        return self._file.getvalue()


def test_without_a_terminal_each_change_is_one_line() -> None:
    terminal = Terminal(interactive=False)

    with Progress(terminal.console, farewell="bye") as progress:
        progress.status(system("redis"))
        progress.event("redis is ready")
        progress.event("nats ended by itself with code 1; starts again in 0.5 s")
        progress.status(system("redis", "nats"))

    lines = terminal.shown.splitlines()
    assert [line.partition(" after ")[0] for line in lines] == [
        "redis is ready",
        "nats ended by itself with code 1; starts again in 0.5 s",
        "nats is ready",
    ]


@pytest.mark.parametrize("interactive", [True, False])
def test_when_ready_it_shows_the_address_and_a_command_to_try(*, interactive: bool) -> None:
    terminal = Terminal(interactive=interactive)

    with Progress(terminal.console, farewell="bye") as progress:
        progress.status(system(*SERVICES, *STORES))
        progress.ready(system(*SERVICES, *STORES))

    assert "http://127.0.0.1:8080" in terminal.shown
    assert "./bidkit bid lamp 125.50 --user alice" in terminal.shown
    assert terminal.shown.splitlines()[-1] == "bye"


def test_interrupted_start_leaves_no_stale_table() -> None:
    terminal = Terminal(interactive=True)

    with Progress(terminal.console, farewell="bye") as progress:
        progress.status(system("redis"))
        progress.event(STOPPING)
        progress.event("Everything is stopped.")

    assert terminal.shown.rstrip().endswith("Everything is stopped.")


def test_replica_that_gets_ready_again_later_is_shown() -> None:
    terminal = Terminal(interactive=False)

    with Progress(terminal.console, farewell="bye") as progress:
        progress.ready(system(*SERVICES, *STORES))
        progress.event("api-gateway-1 is ready")

    assert terminal.shown.splitlines()[-1] == "api-gateway-1 is ready"


def test_closed_terminal_does_not_hide_an_error() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    console = Console(file=Closed(), width=80, force_terminal=True)

    with pytest.raises(NotReady), Progress(console, farewell="bye"):
        raise NotReady("it keeps ending.")
