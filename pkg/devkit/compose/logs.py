"""Containers' logs, under the replica names that every backend uses."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence

from pkg.devkit.backend import LogLine
from pkg.devkit.compose import command
from pkg.devkit.compose.container import Container
from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.project import Project
from pkg.devkit.home import Home
from pkg.devkit.log_files import set_aside
from pkg.devkit.names import SERVICES
from pkg.devkit.signals import signals_deferred

KEPT_LINES = 2000
KEPT_BYTES = 1024 * 1024
"""How much of a removed container's log is kept."""

_READING_ENDS_WITHIN_S = 2.0
"""From SIGTERM to SIGKILL; a reader has nothing to finish."""


def keep(
    engine: Engine, containers: Sequence[Container], home: Home, *, afresh: bool = False
) -> None:
    """Writes each container's log to the file that the process backend would use.

    `afresh` first sets the files of the last run aside. A full disk is no error: the system must
    still stop, so that its data can be deleted.
    """
    with contextlib.suppress(OSError):
        home.logs.mkdir(parents=True, exist_ok=True)
        if afresh:
            set_aside(home)
        for one in containers:
            said = "".join(f"{line}\n" for line in engine.tail(one.id, KEPT_LINES))
            (home.logs / f"{one.replica}.log").write_bytes(said.encode()[-KEPT_BYTES:])


def read(
    project: Project, services: tuple[str, ...], *, last: int, follow: bool
) -> Iterator[LogLine]:
    """The last lines of each replica in turn; with `follow`, then new lines of all as they come,
    also from replicas started later.
    """
    if follow:
        yield from _followed(project, services, last=last)
        return
    for one in project.containers():
        if one.service in services:
            for text in project.engine.tail(one.id, last) if last else ():
                yield LogLine(one.replica, text, ended=not one.alive)


def _followed(project: Project, services: tuple[str, ...], *, last: int) -> Iterator[LogLine]:
    arguments = ("logs", "--no-color", "--follow", "--tail", str(last), *services)
    following: subprocess.Popen[bytes] | None = None
    try:
        with signals_deferred():
            following = subprocess.Popen(
                project.command(*arguments),
                env=project.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        assert following.stdout is not None  # noqa: S101 - PIPE above
        with following.stdout as lines:
            for line in lines:
                yield parse(line.decode(errors="replace").rstrip("\n"))
    finally:
        if following is not None:
            command.end(following, within_s=_READING_ENDS_WITHIN_S)


def parse(line: str) -> LogLine:
    """Compose writes `redis-1  | text`; in bidkit only services have numbers."""
    container, _, text = line.partition("|")
    name = container.strip()
    service = name.rpartition("-")[0]
    replica = name if service in SERVICES else service or name
    return LogLine(replica, text.removeprefix(" "))
