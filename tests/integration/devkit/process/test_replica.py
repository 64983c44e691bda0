"""Replica and Fleet, with a fake service that fails on demand."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import aiohttp
import psutil
import pytest

from pkg.devkit.backend import Options
from pkg.devkit.errors import BidkitError, NotReady, PortTaken
from pkg.devkit.home import Home
from pkg.devkit.listening import listen
from pkg.devkit.ports import free_ports
from pkg.devkit.process.child import Hurry
from pkg.devkit.process.fleet import Fleet
from pkg.devkit.process.launch import Launch
from pkg.devkit.process.records import Records
from pkg.devkit.process.replica import Patience, Replica
from pkg.devkit.process.supervisor import Supervisor
from pkg.devkit.process.workloads import ServiceWorkload, Workload
from pkg.trials.waiting import until

FAKE_SERVICE = Path(__file__).with_name("fake_service.py")


class Harness:
    """Real replicas and fleets of the fake service."""

    def __init__(self, home: Home, tasks: asyncio.TaskGroup) -> None:
        home.logs.mkdir(parents=True)
        self.home = home
        self.events: list[str] = []
        self.mode = "serve"
        self.hurry = Hurry(asyncio.Event())
        self.patience = Patience(start_limit_s=10.0)
        self.replicas: list[Replica] = []
        self.fleets: list[Fleet] = []
        self._tasks = tasks

    def begin(self, name: str, workload: ServiceWorkload) -> Replica:
        replica = Replica(
            name,
            FakeWorkload(workload, mode=lambda: self.mode),
            log=self.home.log(name),
            records=Records(self.home.processes),
            hurry=self.hurry,
            event=self.events.append,
            patience=self.patience,
        )
        self._tasks.create_task(replica.run())
        self.replicas.append(replica)
        return replica

    def replica(self) -> Replica:
        return self.begin("api-gateway-1", workload())

    def fleet(self, port: int, *, desired: int) -> Fleet:
        fleet = Fleet("api-gateway", port=port, desired=desired, settings={}, begin=self.begin)
        self.fleets.append(fleet)
        fleet.begin()
        return fleet


class FakeWorkload:
    """A service's workload that runs the fake service."""

    def __init__(self, workload: ServiceWorkload, *, mode: Callable[[], str]) -> None:
        self._workload: Workload = workload
        self._mode = mode

    @property
    def port(self) -> int:
        return self._workload.port

    def launch(self) -> Launch:
        launch = self._workload.launch()
        command = (sys.executable, str(FAKE_SERVICE))
        return replace(launch, argv=command, env={**launch.env, "MODE": self._mode()})

    async def unready(self) -> str | None:
        return await self._workload.unready()

    async def alive(self) -> bool:
        return await self._workload.alive()

    def close(self) -> None:
        self._workload.close()


def workload() -> ServiceWorkload:
    return ServiceWorkload("api-gateway", listener=lambda: None, settings={})


@asynccontextmanager
async def supervised(home: Path) -> AsyncIterator[Harness]:
    async with asyncio.TaskGroup() as tasks:
        harness = Harness(Home(home), tasks)
        yield harness
        await asyncio.gather(*(replica.stop() for replica in harness.replicas))
        for fleet in harness.fleets:
            fleet.close()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with supervised(tmp_path) as running:
        yield running


async def test_crashed_process_is_restarted_and_counted(harness: Harness) -> None:
    replica = harness.replica()
    await replica.becomes_ready()
    first = replica.status()
    os.kill(pid_of(replica), signal.SIGKILL)

    await until(lambda: replica.ready and replica.status().pid != first.pid, within_s=10)

    assert (first.restarts, replica.status().restarts) == (0, 1)
    assert "api-gateway-1 ended by itself with signal 9; starts again in 0.5 s" in harness.events


async def test_crash_is_noticed_before_the_next_probe(harness: Harness) -> None:
    replica = harness.replica()
    await replica.becomes_ready()
    os.kill(pid_of(replica), signal.SIGKILL)

    await until(lambda: any("ended by itself" in each for each in harness.events), within_s=0.4)


async def test_process_that_cannot_start_is_retried_with_backoff(harness: Harness) -> None:
    harness.mode = "exit"
    replica = harness.replica()

    await until(lambda: replica.status().restarts >= 2, within_s=10)

    assert not replica.ready
    assert replica.status().why == "ended by itself with code 2; starts again in 1 s"


async def test_hung_process_is_replaced(harness: Harness) -> None:
    harness.patience = Patience(unresponsive_after=1, unresponsive_stop_s=0.1)
    replica = harness.replica()
    await replica.becomes_ready()
    os.kill(pid_of(replica), signal.SIGSTOP)

    await until(lambda: replica.status().restarts == 1, within_s=15)

    assert "did not answer" in harness.events[-1]
    await replica.becomes_ready()


async def test_unready_process_is_not_restarted(harness: Harness) -> None:
    harness.mode = "unready"
    # Long enough for the process to answer at all on a loaded machine.
    harness.patience = Patience(start_limit_s=6.0)
    replica = harness.replica()

    with pytest.raises(NotReady, match="/ready says 503"):
        await replica.becomes_ready()

    assert replica.status().restarts == 0
    assert psutil.pid_exists(pid_of(replica))


async def test_hurried_stop_kills_a_process_that_ignores_sigterm(harness: Harness) -> None:
    harness.mode = "deaf"
    replica = harness.replica()
    log = harness.home.log("api-gateway-1")
    await until(lambda: "deaf" in log.read_text(), within_s=5, forgiving=(FileNotFoundError,))
    pid = pid_of(replica)
    harness.hurry.asked.set()

    await asyncio.wait_for(replica.stop(), timeout=15)

    assert not psutil.pid_exists(pid)


async def test_fleet_scales_up_and_down(harness: Harness) -> None:
    fleet = harness.fleet(*free_ports(1), desired=1)

    await fleet.scale(3, say=lambda _: None)
    grown = names(fleet)
    await fleet.scale(1, say=lambda _: None)

    assert (grown, names(fleet)) == (
        ["api-gateway-1", "api-gateway-2", "api-gateway-3"],
        ["api-gateway-1"],
    )
    assert fleet.status().ready == 1


async def test_rolling_restart_replaces_every_process_and_fails_no_request(
    harness: Harness,
) -> None:
    (port,) = free_ports(1)
    fleet = harness.fleet(port, desired=1)
    await fleet.scale(2, say=lambda _: None)
    before = pids(fleet)
    async with Load(f"http://127.0.0.1:{port}/", clients=8) as load:
        await until(lambda: load.answered > 50, within_s=10)

        await fleet.restart(say=lambda _: None)
        restarted_at = load.answered
        await until(lambda: load.answered > restarted_at + 50, within_s=10)

    assert load.failures == []
    assert len(pids(fleet)) == 2
    assert not before & pids(fleet)


async def test_restart_whose_new_process_is_unready_leaves_the_old_one_serving(
    harness: Harness,
) -> None:
    (port,) = free_ports(1)
    fleet = harness.fleet(port, desired=1)
    await fleet.scale(1, say=lambda _: None)
    before = pids(fleet)
    harness.mode = "unready"
    harness.patience = Patience(start_limit_s=1.0)

    with pytest.raises(NotReady):
        await fleet.restart(say=lambda _: None)

    assert (pids(fleet), fleet.status().ready) == (before, 1)


async def test_connections_are_refused_without_replicas_and_accepted_after_scaling_up(
    harness: Harness,
) -> None:
    (port,) = free_ports(1)
    fleet = harness.fleet(port, desired=1)
    await fleet.scale(0, say=lambda _: None)

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await fleet.scale(1, say=lambda _: None)
    _, writer = await asyncio.open_connection("127.0.0.1", port)

    writer.close()
    assert fleet.status().ready == 1


async def test_only_one_operation_at_a_time_on_a_service(harness: Harness) -> None:
    fleet = harness.fleet(*free_ports(1), desired=1)
    growing = asyncio.create_task(fleet.scale(2, say=lambda _: None))
    await asyncio.sleep(0)

    with pytest.raises(BidkitError, match="api-gateway is being scaled"):
        await fleet.restart(say=lambda _: None)

    await growing


async def test_refused_scale_does_not_change_the_desired_number(harness: Harness) -> None:
    fleet = harness.fleet(*free_ports(1), desired=1)
    supervisor = Supervisor(harness.home, Options(), event=harness.events.append)
    supervisor._fleets = {"api-gateway": fleet}
    growing = asyncio.create_task(fleet.scale(2, say=lambda _: None))
    await asyncio.sleep(0)

    with pytest.raises(BidkitError, match="api-gateway is being scaled"):
        await supervisor.scale({"api-gateway": 5}, say=lambda _: None)

    assert supervisor.desired.replicas.get("api-gateway") != 5
    assert not harness.home.desired.exists()
    await growing


def test_error_for_a_port_in_use_names_the_option() -> None:
    with listen("api-gateway", 0) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(PortTaken, match=rf"port {port} .* taken .* --api-port"):
            listen("api-gateway", port)


class Load:
    """Clients on persistent connections that send one request after another."""

    def __init__(self, url: str, *, clients: int) -> None:
        self._url = url
        self._clients = clients
        self._running = True
        self.answered = 0
        self.failures: list[str] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running = False
        await asyncio.gather(*self._tasks)

    async def _client(self) -> None:
        # POST, because aiohttp retries idempotent requests by itself.
        async with aiohttp.ClientSession() as session:
            while self._running:
                try:
                    async with session.post(self._url) as response:
                        response.raise_for_status()
                        await response.read()
                    self.answered += 1
                except aiohttp.ClientError as error:
                    self.failures.append(repr(error))
                await asyncio.sleep(0.005)


def pid_of(replica: Replica) -> int:
    pid = replica.status().pid
    assert pid is not None
    return pid


def pids(fleet: Fleet) -> set[int]:
    return {pid_of(replica) for replica in fleet.replicas}


def names(fleet: Fleet) -> list[str]:
    return [replica.name for replica in fleet.replicas]
