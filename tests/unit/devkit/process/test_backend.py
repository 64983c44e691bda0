"""Stopping a system on processes: how long bidkit waits."""

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
from tests.unit.devkit.compose.doubles import FakeClock


class EndlessControl:
    """Controls a supervisor that was asked to stop and never ends."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def environment(self, _user: str) -> dict[str, str]:
        return self._environment

    def stop(self) -> None: ...

    def status(self) -> SystemStatus:
        raise StoppedMeanwhile


@pytest.mark.parametrize(
    ("settings", "within_s"),
    [({}, 123), ({"DEREGISTER_S": "120", "SHUTDOWN_TIMEOUT_S": "120"}, 348)],
)
def test_down_waits_as_long_as_services_and_stores_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], within_s: int
) -> None:
    home, clock = Home(tmp_path), FakeClock()
    backend = ProcessBackend(home)
    monkeypatch.setattr(backend, "_control", EndlessControl(settings))
    monkeypatch.setattr(process_backend, "time", clock)

    with home.lock(), pytest.raises(BidkitError, match=f"has not stopped in {within_s} s"):
        backend.down(volumes=True, say=lambda _: None)

    assert clock.now == pytest.approx(within_s, abs=1)


def test_asking_a_supervisor_that_is_ending_raises_stopped_meanwhile(tmp_path: Path) -> None:
    """Its socket gets a connection and is closed before it accepts it."""
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


def test_stores_stop_within_the_time_that_bidkit_waits(tmp_path: Path) -> None:
    """In the worst case they are killed one after the other, each at its own limit."""
    stores: list[Server] = [
        kind(data=tmp_path, port=1) for kind in (RedisServer, NatsServer, PostgresServer)
    ]

    longest = sum(store.launch().stop_within_s + HURRIED_S for store in stores)

    assert longest <= STORES_STOP_WITHIN_S
