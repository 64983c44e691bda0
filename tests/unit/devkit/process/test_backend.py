"""How bidkit waits for the end of a system on processes, and how long."""

import select
import socket
import threading
from pathlib import Path

import pytest

from pkg.devkit.errors import BidkitError
from pkg.devkit.home import Home, save
from pkg.devkit.process import backend as process_backend
from pkg.devkit.process.backend import ProcessBackend
from pkg.devkit.process.child import HURRIED_S
from pkg.devkit.process.control import Address, Control, StoppedMeanwhile
from pkg.devkit.process.postgres import PostgresServer
from pkg.devkit.process.servers import NatsServer, RedisServer, Server
from pkg.devkit.service_settings import STORES_STOP_WITHIN_S
from pkg.devkit.system import SystemStatus
from tests.unit.devkit.compose.doubles import Clock


class EndlessControl:
    """Of a supervisor that was asked to stop and does not come to an end."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def environment(self) -> dict[str, str]:
        return self._environment

    def stop(self) -> None: ...

    def status(self) -> SystemStatus:
        raise StoppedMeanwhile


@pytest.mark.parametrize(
    ("settings", "within_s"),
    [({}, 123), ({"DEREGISTER_S": "120", "SHUTDOWN_TIMEOUT_S": "120"}, 348)],
)
def test_a_down_waits_as_long_as_services_and_stores_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], within_s: int
) -> None:
    home, clock = Home(tmp_path), Clock()
    backend = ProcessBackend(home)
    monkeypatch.setattr(backend, "_control", EndlessControl(settings))
    monkeypatch.setattr(process_backend, "time", clock)

    with home.lock(), pytest.raises(BidkitError, match=f"has not stopped in {within_s} s"):
        backend.down(volumes=True, say=lambda _: None)

    assert clock.now == pytest.approx(within_s, abs=1)


def test_whoever_asks_a_supervisor_that_is_just_ending_is_told_so(tmp_path: Path) -> None:
    """Its socket takes a connection, and is closed before anybody looks at that."""
    home = Home(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "control"))
        listening.listen()
        save(home.supervisor, Address(pid=1, socket=str(tmp_path / "control")))

        def end() -> None:
            select.select([listening], [], [])
            listening.close()

        ending = threading.Thread(target=end)
        ending.start()
        with pytest.raises(StoppedMeanwhile):
            Control(home).status()
        ending.join()


def test_the_stores_end_in_the_time_that_is_waited_for_them(tmp_path: Path) -> None:
    """One after the other, each killed at its own limit."""
    stores: list[Server] = [
        kind(data=tmp_path, port=1) for kind in (RedisServer, NatsServer, PostgresServer)
    ]

    longest = sum(store.launch().stop_within_s + HURRIED_S for store in stores)

    assert longest <= STORES_STOP_WITHIN_S
