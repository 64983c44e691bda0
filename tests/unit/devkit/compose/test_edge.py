"""Waiting for the edge, with fake servers on its ports."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pkg.devkit.compose import edge
from pkg.devkit.compose.edge import await_passing, entrances, up_in
from pkg.devkit.errors import BidkitError, NotReady
from pkg.devkit.names import MOST_REPLICAS, SERVICES
from pkg.devkit.settings import PROJECT
from pkg.devkit.signals import no_check
from pkg.devkit.system import Desired


@contextmanager
def answering(statuses: list[int]) -> Iterator[int]:
    """The port of a server that gives these statuses in turn and repeats the last one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def desired(port: int, **replicas: int) -> Desired:
    counts = {name.replace("_", "-"): number for name, number in replicas.items()}
    return Desired(api_port=port, broadcast_port=port, edge_port=port, replicas=counts)


def test_up_waits_until_the_edge_has_found_every_service() -> None:
    # Four routes lead to services; each is asked until it answers 200.
    answers = [503, 503, 200, 503, 200, 503, 200, 503, 200, 404]
    with answering(answers) as port:
        await_passing(desired(port), check=no_check)

    assert answers == [404]


def test_error_for_an_edge_without_replicas_shows_its_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 0.2)
    with (
        answering([503]) as port,
        pytest.raises(NotReady, match=r"does not route to api-gateway: .* answers 503"),
    ):
        await_passing(desired(port), check=no_check)


def test_wait_ends_when_the_system_is_stopped() -> None:
    def stopped() -> None:
        raise BidkitError("the system was stopped meanwhile.")

    with answering([503]) as port, pytest.raises(BidkitError, match="stopped meanwhile"):
        await_passing(desired(port), check=stopped)


def test_service_without_replicas_is_not_waited_for() -> None:
    ways = entrances(desired(1, api_gateway=0, broadcast_service=2, archival_worker=1), SERVICES)

    assert {service for service, _, _ in ways} == {"broadcast-service"}


TABLE = """# pxname,svname,status,addr,
all,FRONTEND,OPEN,,
api,replica-1,UP,10.0.0.4:8080,
api,replica-2,UP 1/2,10.0.0.5:8080,
api,replica-3,DOWN,10.0.0.6:8080,
api,replica-4,MAINT (resolution),,
api,BACKEND,UP,,
broadcast,replica-1,UP,10.0.0.7:8081,
"""
BY_HTTP = "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n"


@pytest.mark.parametrize(
    "output",
    [
        TABLE,
        f"{BY_HTTP}B4\n{TABLE}\n0\n\n",
        f"{BY_HTTP}4f\n{TABLE[:79]}\nAB\n{TABLE[79:]}\n0\n\n",
    ],
)
def test_replicas_shown_as_up_in_the_statistics_are_found(output: str) -> None:
    assert up_in(output, "api") == {"10.0.0.4", "10.0.0.5"}


def test_no_replica_is_found_in_other_output() -> None:
    assert up_in("HTTP/1.1 503 Service Unavailable\n\nno", "api") == set()


def test_edge_has_a_slot_more_than_a_service_can_have_replicas() -> None:
    """A rolling restart adds the replacement before it removes the old replica."""
    configuration = (PROJECT / "compose" / "haproxy.cfg").read_text()

    slots = [int(number) for number in re.findall(r"server-template \S+ (\d+) ", configuration)]

    assert len(slots) == 2
    assert min(slots) >= MOST_REPLICAS + 1
