"""Finds out who listens on a port, if it is another bidding system."""

import contextlib
import shlex

import psutil

from pkg.devkit import docker_cli
from pkg.devkit.errors import BidkitError

_ASK_WITHIN_S = 2.0
_OURS = "bidding-"
"""The prefix of this system's compose projects, whether bidkit or compose started them."""

_PROGRAMS = {"pkg.devkit", "pkg.devkit.process.serve"}


def taken_by(port: int) -> str:
    """Completes the sentence "is taken by "; says how to stop the program."""
    return _project(port) or _bidkit(port) or "another program. Stop that program"


def _project(port: int) -> str | None:
    label = f'{{{{.Label "{docker_cli.PROJECT_LABEL}"}}}}'
    try:
        found = docker_cli.ask(
            *("ps", "--filter", f"publish={port}", "--format", label), within_s=_ASK_WITHIN_S
        ).split()
    except BidkitError:  # no engine, hence no containers
        return None
    for name in found:
        if name.startswith(_OURS):
            return f"the compose project {name}. Stop it with `docker compose -p {name} down`"
    return None


def _bidkit(port: int) -> str | None:
    with contextlib.suppress(psutil.Error):  # it has just ended, or belongs to another user
        for one in psutil.net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.pid and one.laddr[1:] == (port,):
                # Of the processes that share a socket one is listed: a replica or its parent.
                listed = psutil.Process(one.pid)
                for process in filter(None, (listed, listed.parent())):
                    if not _PROGRAMS.isdisjoint(process.cmdline()):
                        return _run(process)
    return None


def _run(process: psutil.Process) -> str:
    home = process.environ().get("BIDKIT_HOME")
    how = (
        f"with `BIDKIT_HOME={shlex.quote(home)} bidkit down`"
        if home
        else f"with `bidkit down` in {process.cwd()}"
    )
    return f"another run of bidkit (process {process.pid}). Stop it {how}"
