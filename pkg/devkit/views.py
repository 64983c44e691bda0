"""What bidkit shows of a system: tables for people, JSON for programs."""

import contextlib
import sys
from collections.abc import Iterator
from typing import NoReturn

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pkg.devkit.backend import Watcher
from pkg.devkit.system import ReplicaStatus, ServiceStatus, SystemStatus

_COLOURS = {"ready": "green", "starting": "yellow", "stopping": "yellow"}
WIDTH_ELSEWHERE = 160
_DASH = "-"


def as_json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def overview(status: SystemStatus, *, only: str | None = None) -> Table:
    """One row per service; below it one row per replica, unless there is exactly one."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("SERVICE", "READY", "RESTARTS", "PORT", "PID", "CPU", "MEMORY", "AGE"):
        left = column in {"SERVICE", "READY"}
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for service in status.services:
        if only in {None, service.service}:
            for row in _rows(service):
                table.add_row(*row)
    return table


def _rows(service: ServiceStatus) -> Iterator[list[RenderableType]]:
    enough = service.ready >= service.desired
    ready = Text(f"{service.ready}/{service.desired}", style="green" if enough else "red")
    port = str(service.port) if service.port else _DASH
    head: list[RenderableType] = [service.service, ready, str(service.restarts), port]
    if len(service.replicas) == 1:
        (replica,) = service.replicas
        ready.append(_phase(replica))
        yield [*head, *_usage(replica)]
        return
    yield head
    for replica in service.replicas:
        state = Text("ready" if replica.ready else "").append(_phase(replica))
        yield [f"  {replica.name}", state, str(replica.restarts), "", *_usage(replica)]


def _phase(replica: ReplicaStatus) -> Text:
    """Empty for a replica in its normal state."""
    style = _COLOURS.get(replica.phase, "red")
    return Text("" if replica.ready else f" {replica.phase}", style=style)


def _usage(replica: ReplicaStatus) -> list[str]:
    return [
        str(replica.pid) if replica.pid else _DASH,
        f"{replica.cpu_percent:.1f}%" if replica.cpu_percent is not None else _DASH,
        f"{replica.memory_bytes / 2**20:.1f} MiB" if replica.memory_bytes is not None else _DASH,
        duration(replica.age_s) if replica.age_s is not None else _DASH,
    ]


def details(service: ServiceStatus, *, settings: dict[str, str]) -> RenderableType:
    about = Table(box=None, pad_edge=False, show_header=False)
    about.add_column(style="bold")
    about.add_column(overflow="fold")
    about.add_row("service", service.service)
    about.add_row("kind", service.kind)
    about.add_row("ready", f"{service.ready} of {service.desired}")
    about.add_row("restarts", str(service.restarts))
    about.add_row("port", str(service.port) if service.port else "none of its own")
    for name, value in sorted(settings.items()):
        about.add_row("setting", f"{name}={value}")
    return Group(about, *(_replica(replica, service) for replica in service.replicas))


def _replica(replica: ReplicaStatus, service: ServiceStatus) -> Table:
    about = Table(box=None, pad_edge=False, show_header=False)
    about.add_column(style="bold")
    about.add_column(overflow="fold")
    pid, cpu, memory, age = _usage(replica)
    about.add_row("", "")
    about.add_row("replica", replica.name)
    about.add_row("  phase", Text(replica.phase, style=_COLOURS.get(replica.phase, "red")))
    if replica.why:
        about.add_row("  because", replica.why)
    if service.kind == "service":
        about.add_row(
            "  health", f"http://{replica.host}:{replica.port}/ready (and /health, /metrics)"
        )
    about.add_row("  process", f"{pid}, up {age}, restarted {replica.restarts} times")
    about.add_row("  uses", f"{cpu} of a core, {memory}")
    about.add_row("  log", replica.log or _DASH)
    return about


def duration(seconds: float) -> str:
    """`8s`, `3m10s`, `2h05m`, `4d02h`: the two largest units."""
    whole = int(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"


def to_try(status: SystemStatus) -> str:
    edge = f"\nBoth       {status.edge_url} (the load balancer)" if status.edge_url else ""
    return (
        f"\nHTTP API   {status.api_url}"
        f"\nWebSocket  {status.websocket_url}/ws/items/lamp{edge}\n\nTry:\n"
        "  ./bidkit watch lamp\n"
        "  ./bidkit bid lamp 125.50 --user alice\n"
        f"  curl -s {status.api_url}/api/v1/items/lamp\n"
    )


class ReaderGone(BrokenPipeError):  # noqa: N818 - it is no error: `head` has seen enough
    """Standard output has no reader any more.

    It has no errno, without which typer would end the program on the spot.
    """


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        # Rich would raise SystemExit, in whichever task happens to print.
        raise ReaderGone from None


def console() -> Console:
    """Standard output; wide enough for every table if it is not a terminal."""
    terminal = _Console()
    return terminal if terminal.is_terminal else _Console(width=WIDTH_ELSEWHERE)


def write(line: str) -> None:
    """Writes a line at once, as the reader may be following. Raises ReaderGone."""
    try:
        print(line, flush=True)  # noqa: T201 - this is where bidkit prints
    except BrokenPipeError:
        raise ReaderGone from None


def write_regardless(line: str) -> None:
    """As `write`, for work that goes on even without a reader."""
    with _unread():
        write(line)


def complain(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal was closed
        print(line, file=sys.stderr, flush=True)  # noqa: T201


class Regardless:
    """A watcher of work that goes on even without a reader."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def status(self, now: SystemStatus) -> None:
        with _unread():
            self._watcher.status(now)

    def event(self, line: str) -> None:
        with _unread():
            self._watcher.event(line)

    def ready(self, now: SystemStatus) -> None:
        with _unread():
            self._watcher.ready(now)

    def already(self, now: SystemStatus) -> None:
        with _unread():
            self._watcher.already(now)


def _unread() -> contextlib.AbstractContextManager[None]:
    """Ignores a reader that is gone, a closed terminal and a full disk."""
    return contextlib.suppress(OSError)


def plain(console: Console, text: str) -> None:
    """Prints text as it is: no markup, no guessed colours, no wrapping."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
