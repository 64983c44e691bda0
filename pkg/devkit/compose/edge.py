"""Whether the edge passes requests on: it finds new replicas by itself, within a second or two."""

import csv
import re
import time
from collections.abc import Callable, Collection, Sequence
from http.client import HTTPConnection, HTTPException

from pkg.devkit.compose import engine
from pkg.devkit.compose.container import Container
from pkg.devkit.errors import BidkitError, NotReady
from pkg.devkit.names import API, BROADCAST, EDGE, SERVICES
from pkg.devkit.system import Desired

FINDS_WITHIN_S = 15.0
"""Its name server is asked, and a replica checked, twice a second; a busy machine takes longer."""

_ANSWERS_WITHIN_S = 2.0
_EVERY_S = 0.1
_OK = 200

_BACKENDS = {API: "api", BROADCAST: "broadcast"}
"""What haproxy.cfg calls those that it sends requests to."""

# The official image has wget, another may have bash, which does not put the chunks together.
_ASK_FOR_SERVERS = r"""
wget -q -O - 'http://127.0.0.1:8404/servers;csv' || bash -c '
    exec 3<>/dev/tcp/127.0.0.1/8404
    printf "GET /servers;csv HTTP/1.0\r\n\r\n" >&3
    cat <&3' || true
"""
_TABLE_BEGINS = "# pxname"
_CHUNK_BEGINS = re.compile(r"\r?\n[0-9a-fA-F]+\r?\n")


class _CannotBeAsked(Exception):  # noqa: N818 - as in errors.py
    """For the time being."""


def entrances(desired: Desired, services: Collection[str]) -> list[tuple[str, int, str]]:
    """Service, port and path of what a person may ask of these: one each way to a service."""
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
    still_wanted: Callable[[], None],
) -> None:
    """Until each of these is reached through every port that leads to it, unless nobody wants it.

    `still_wanted` raises when the system is stopped meanwhile. Raises NotReady.
    """
    deadline = time.monotonic() + FINDS_WITHIN_S
    for service, port, path in entrances(desired, services):
        while (said := _ask(port, path)) != _OK:
            still_wanted()
            if time.monotonic() > deadline:
                raise NotReady(
                    f"the edge does not pass {service} on: http://127.0.0.1:{port}{path} answers "
                    f"{said}. `bidkit describe {service}` shows whether it is ready, `bidkit logs "
                    "edge` what the edge sees."
                )
            time.sleep(_EVERY_S)


def await_found(
    project: str, new: Sequence[Container], *, still_wanted: Callable[[], None]
) -> None:
    """Until the edge sends requests to these replicas of a service too, where it is running.

    `still_wanted` raises when the system is stopped meanwhile. Raises NotReady.
    """
    addresses = {one.address for one in new if one.service in _BACKENDS}
    if not addresses:
        return
    names = " and ".join(one.replica for one in new)
    service, deadline = new[0].service, time.monotonic() + FINDS_WITHIN_S
    while edge := _running_edge(project):
        try:
            said = _servers(edge, service)
        except _CannotBeAsked as error:
            trouble = f"the edge cannot be asked whether it has found {names}: {error}"
        else:
            if addresses <= said:
                return
            trouble = (
                f"the edge has not found {names} in {FINDS_WITHIN_S:g} s; it sends requests to "
                f"{', '.join(sorted(said)) or 'none'}"
            )
        still_wanted()
        if time.monotonic() > deadline:
            raise NotReady(f"{trouble}. `bidkit logs edge` shows why.")
        time.sleep(_EVERY_S)


def _running_edge(project: str) -> str | None:
    edges = (one for one in engine.containers(project) if one.service == EDGE)
    return next((one.id for one in edges if one.status == "running"), None)


def _servers(edge: str, service: str) -> set[str]:
    """The addresses of the service's replicas that the edge has checked and found ready.

    Raises _CannotBeAsked.
    """
    try:
        said = engine.ask("exec", edge, "sh", "-c", _ASK_FOR_SERVERS)
    except engine.NoEngine:
        raise
    except BidkitError as error:  # it is ending, or is just being made
        raise _CannotBeAsked(engine.reason(error)) from error
    if _TABLE_BEGINS not in said:
        raise _CannotBeAsked("its statistics do not answer")
    return up_in(said, _BACKENDS[service])


def up_in(statistics: str, backend: str) -> set[str]:
    """From HAProxy's own table, with or without the head and the chunks of an answer by HTTP."""
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
