"""What containers have said, under the names their replicas have on every backend."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence

from pkg.devkit.backend import LogLine
from pkg.devkit.compose import command, engine
from pkg.devkit.compose.container import Container
from pkg.devkit.compose.project import Project
from pkg.devkit.home import Home
from pkg.devkit.log_files import set_aside
from pkg.devkit.names import SERVICES
from pkg.devkit.signals import interrupted_once

KEPT_LINES = 2000
KEPT_BYTES = 1024 * 1024
"""Of a container that is removed; the rest goes with it."""

_READING_ENDS_WITHIN_S = 2.0
"""When it is asked to; nothing is left half done by it."""


def keep(containers: Sequence[Container], home: Home, *, afresh: bool = False) -> None:
    """A file for each, where the process backend has its replicas' own; `afresh` for a run's end.

    A disk that is full of data must not keep anybody from ending the system and deleting it.
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
    """The last lines of each replica, one replica after the other; with `follow`, after them new
    ones of all as they come, also of replicas that appear later.
    """
    if follow:
        yield from _followed(project, services, last=last)
        return
    for one in engine.containers(project.name):
        if one.service in services:
            for text in engine.tail(one.id, last) if last else ():
                yield LogLine(one.replica, text)


def _followed(project: Project, services: tuple[str, ...], *, last: int) -> Iterator[LogLine]:
    arguments = ("logs", "--no-color", "--follow", "--tail", str(last), *services)
    with interrupted_once() as begun:
        following = subprocess.Popen(
            project.command(*arguments),
            env=project.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            assert following.stdout is not None  # noqa: S101 - PIPE above
            with following.stdout as lines:
                begun()
                for line in lines:
                    yield parse(line.decode(errors="replace").rstrip("\n"))
        finally:
            command.end(following, within_s=_READING_ENDS_WITHIN_S)


def parse(line: str) -> LogLine:
    """`redis-1  | text`, as compose writes it; only services have numbers in bidkit."""
    container, _, text = line.partition("|")
    name = container.strip()
    service = name.rpartition("-")[0]
    replica = name if service in SERVICES else service or name
    return LogLine(replica, text.removeprefix(" "))
