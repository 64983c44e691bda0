"""Whether the edge passes requests on: it finds new replicas by itself, within a second or two."""

import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException

from pkg.devkit.errors import NotReady
from pkg.devkit.names import API, BROADCAST
from pkg.devkit.system import Desired

FINDS_WITHIN_S = 15.0
"""Its name server is asked, and a replica checked, twice a second; a busy machine takes longer."""

_ANSWERS_WITHIN_S = 2.0
_EVERY_S = 0.1
_OK = 200


def entrances(desired: Desired) -> list[tuple[str, int, str]]:
    """Service, port and path of everything that a person may ask: one each way to a service."""
    ways = [
        (API, desired.api_port, "/health"),
        (API, desired.edge_port, "/health"),
        (BROADCAST, desired.broadcast_port, "/health"),
        (BROADCAST, desired.edge_port, "/stats/items/edge-check"),
    ]
    return [way for way in ways if desired.replicas.get(way[0], 1)]


def await_passing(desired: Desired, *, still_wanted: Callable[[], None]) -> None:
    """Until each wanted service is reached through every port that leads to it.

    `still_wanted` raises when the system is stopped meanwhile. Raises NotReady.
    """
    deadline = time.monotonic() + FINDS_WITHIN_S
    for service, port, path in entrances(desired):
        while (said := _ask(port, path)) != _OK:
            still_wanted()
            if time.monotonic() > deadline:
                raise NotReady(
                    f"the edge does not pass {service} on: http://127.0.0.1:{port}{path} answers "
                    f"{said}. `bidkit logs edge` shows why."
                )
            time.sleep(_EVERY_S)


def _ask(port: int, path: str) -> int | str:
    connection = HTTPConnection("127.0.0.1", port, timeout=_ANSWERS_WITHIN_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
