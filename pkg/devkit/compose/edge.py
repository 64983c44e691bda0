"""Waits until the edge routes to new replicas, which it finds by itself within a second or two."""

import csv
import re
import time
from collections.abc import Collection, Sequence
from http.client import HTTPConnection, HTTPException

from pkg.devkit.compose.container import Container
from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.project import Project
from pkg.devkit.docker_cli import NoEngine, reason
from pkg.devkit.errors import BidkitError, NotReady
from pkg.devkit.names import API, BROADCAST, EDGE, SERVICES
from pkg.devkit.signals import Check
from pkg.devkit.system import Desired

FINDS_WITHIN_S = 15.0
"""It resolves names and checks replicas twice a second; a busy machine takes longer."""

_ANSWERS_WITHIN_S = 2.0
_EVERY_S = 0.1
_OK = 200

_BACKENDS = {API: "api", BROADCAST: "broadcast"}
"""The backends' names in haproxy.cfg."""

# The official image has wget; others may have bash, which leaves a chunked answer as it is.
_ASK_FOR_SERVERS = r"""
wget -q -O - 'http://127.0.0.1:8404/servers;csv' || bash -c '
    exec 3<>/dev/tcp/127.0.0.1/8404
    printf "GET /servers;csv HTTP/1.0\r\n\r\n" >&3
    cat <&3' || true
"""
_TABLE_BEGINS = "# pxname"
_CHUNK_BEGINS = re.compile(r"\r?\n[0-9a-fA-F]+\r?\n")


class _CannotBeAsked(Exception):  # noqa: N818 - as in errors.py
    """The edge does not answer at the moment."""


def entrances(desired: Desired, services: Collection[str]) -> list[tuple[str, int, str]]:
    """(service, port, path) for each way to reach these services from outside."""
    ways = [
        (API, desired.api_port, "/health"),
        (API, desired.edge_port, "/health"),
        (BROADCAST, desired.broadcast_port, "/health"),
        (BROADCAST, desired.edge_port, "/stats/items/edge-check"),
    ]
    return [way for way in ways if way[0] in services and desired.replicas.get(way[0], 1)]


def await_passing(
    desired: Desired,
    services: Collection[str] = SERVICES,
    *,
    check: Check,
) -> None:
    """Waits until each service with replicas answers on all its ports.

    Raises NotReady, or what `check` raises.
    """
    deadline = time.monotonic() + FINDS_WITHIN_S
    for service, port, path in entrances(desired, services):
        while (said := _ask(port, path)) != _OK:
            check()
            if time.monotonic() > deadline:
                raise NotReady(
                    f"the edge does not route to {service}: http://127.0.0.1:{port}{path} answers "
                    f"{said}. `bidkit describe {service}` shows whether it is ready, `bidkit logs "
                    "edge` what the edge sees."
                )
            time.sleep(_EVERY_S)


def await_found(project: Project, new: Sequence[Container], *, check: Check) -> None:
    """Waits until the edge sends requests to all these replicas, which are of one service.

    Returns at once if no edge is running or none of them is behind it.

    Raises NotReady, or what `check` raises.
    """
    addresses = {one.address for one in new if one.service in _BACKENDS}
    if not addresses:
        return
    names = " and ".join(one.replica for one in new)
    service, deadline = new[0].service, time.monotonic() + FINDS_WITHIN_S
    while edge := _running_edge(project):
        try:
            said = _servers(project.engine, edge, service)
        except _CannotBeAsked as error:
            trouble = f"the edge cannot be asked whether it has found {names}: {error}"
        else:
            if addresses <= said:
                return
            trouble = (
                f"the edge has not found {names} in {FINDS_WITHIN_S:g} s; it sends requests to "
                f"{', '.join(sorted(said)) or 'none'}"
            )
        check()
        if time.monotonic() > deadline:
            raise NotReady(f"{trouble}. `bidkit logs edge` shows why.")
        time.sleep(_EVERY_S)


def _running_edge(project: Project) -> str | None:
    edges = (one for one in project.containers() if one.service == EDGE)
    return next((one.id for one in edges if one.status == "running"), None)


def _servers(engine: Engine, edge: str, service: str) -> set[str]:
    """The addresses of the service's replicas that the edge has found healthy.

    Raises _CannotBeAsked.
    """
    try:
        said = engine.execute(edge, "sh", "-c", _ASK_FOR_SERVERS)
    except NoEngine:
        raise
    except BidkitError as error:  # it is stopping or starting
        raise _CannotBeAsked(reason(error)) from error
    if _TABLE_BEGINS not in said:
        raise _CannotBeAsked("its statistics do not answer")
    return up_in(said, _BACKENDS[service])


def up_in(statistics: str, backend: str) -> set[str]:
    """From HAProxy's CSV, which may still have its HTTP head and chunk sizes."""
    table = _CHUNK_BEGINS.sub("", f"\n{statistics}").partition("# ")[2]
    return {
        row["addr"].rpartition(":")[0]
        for row in csv.DictReader(table.splitlines())
        if row["pxname"] == backend and row["addr"] and row["status"].startswith("UP")
    }


def _ask(port: int, path: str) -> int | str:
    connection = HTTPConnection("127.0.0.1", port, timeout=_ANSWERS_WITHIN_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
