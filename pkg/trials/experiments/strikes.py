"""How a part of the system is struck, on each backend, for exactly as long as a block runs."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Protocol

import psutil

from pkg.devkit import docker_cli
from pkg.devkit.backend import BackendName
from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import BidkitError
from pkg.devkit.home import load
from pkg.devkit.names import API, POSTGRES, REDIS
from pkg.devkit.process.control import Address
from pkg.devkit.process.records import Record
from pkg.devkit.system import ReplicaStatus
from pkg.trials import metrics_text
from pkg.trials.experiments import emulated
from pkg.trials.experiments.system import System, page
from pkg.trials.faults.containers.container import Container, ask
from pkg.trials.waiting import until


class Fault(StrEnum):
    STOP = "stop"
    """It ends in an orderly way."""
    KILL = "kill"
    """It ends at once, like a crash."""
    PAUSE = "pause"
    """It keeps its connections and answers nothing, like a hung machine."""
    PARTITION = "partition"
    """It runs, but nothing reaches it."""


_KEPT_AWAY = "what was struck is kept away for the whole fault phase: nothing restarts it meanwhile"


class Strikes(Protocol):
    @property
    def note(self) -> str:
        """How long the part is away."""

    def can(self, part: str, fault: Fault) -> bool: ...

    def strike(
        self, system: System, part: str, fault: Fault
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """The part is struck while the block runs; of several replicas, one. Then it is given back
        to its supervisor, which starts it again if it has ended.
        """


def of(on: BackendName) -> Strikes:
    match on:
        case BackendName.PROCESS:
            return OnProcesses()
        case BackendName.COMPOSE:
            return OnContainers()
        case _:
            return OnCloud()


async def victim(system: System, part: str) -> ReplicaStatus:
    """The only replica; of several gateways, the one that relays, for its loss costs most."""
    replicas = await system.replicas_of(part)
    if part == API:
        for one in replicas:
            if metrics_text.is_relaying(await page(one)):
                return one
    return replicas[0]


class OnProcesses:
    """The supervisor is suspended meanwhile, or it would start again what was struck."""

    note = _KEPT_AWAY

    def can(self, part: str, fault: Fault) -> bool:  # noqa: ARG002 - as every part
        return fault is not Fault.PARTITION

    @contextlib.asynccontextmanager
    async def strike(self, system: System, part: str, fault: Fault) -> AsyncIterator[None]:
        struck = await victim(system, part)
        address = load(system.home.supervisor, Address)
        record = next(
            (
                one
                for one in load(system.home.processes, list[Record]) or []
                if one.pid == struck.pid
            ),
            None,
        )
        process = record.process() if record else None
        if address is None or record is None or process is None:
            raise BidkitError(f"{struck.name} does not run, so it cannot be struck.")
        supervisor = psutil.Process(address.pid)
        tree = [process, *process.children(recursive=True)]
        supervisor.suspend()
        try:
            if fault is Fault.PAUSE:
                _send(tree, signal.SIGSTOP)
            elif fault is Fault.KILL:
                process.kill()
            else:
                process.send_signal(record.stop_signal)
                await _ended(process, within_s=record.stop_within_s)
            yield
        finally:
            _send(tree, signal.SIGCONT)
            supervisor.resume()


class OnContainers:
    """What is stopped or killed by hand, Docker does not start again."""

    note = _KEPT_AWAY

    def can(self, part: str, fault: Fault) -> bool:  # noqa: ARG002
        return True

    @contextlib.asynccontextmanager
    async def strike(self, system: System, part: str, fault: Fault) -> AsyncIterator[None]:
        struck = await asyncio.to_thread(_container, system, (await victim(system, part)).name)
        match fault:
            case Fault.STOP:
                await struck.stop()
            case Fault.KILL:
                await struck.kill()
            case Fault.PAUSE:
                await struck.pause()
            case Fault.PARTITION:
                await struck.disconnect()
        try:
            yield
        finally:
            await struck.begin()


class OnCloud:
    """ECS puts another task in the place of one that ended. Redis and PostgreSQL are AWS' own: here
    they can only hang.
    """

    note = (
        "a task that was stopped or killed is replaced by ECS during the fault phase, as on AWS; "
        "what was paused is away for all of it, unless ECS finds it unhealthy"
    )

    def can(self, part: str, fault: Fault) -> bool:
        if part in {REDIS, POSTGRES}:
            return fault is Fault.PAUSE
        return fault is not Fault.PARTITION

    @contextlib.asynccontextmanager
    async def strike(self, system: System, part: str, fault: Fault) -> AsyncIterator[None]:
        struck = await victim(system, part)
        if fault is Fault.STOP:
            await asyncio.to_thread(emulated.stop_task, system.backend, part, struck.name)
            yield
            return
        container = await asyncio.to_thread(emulated.container_of, system.home, struck)
        if fault is Fault.KILL:
            await ask("kill", container)
            yield
            return
        await ask("pause", container)
        try:
            yield
        finally:
            with contextlib.suppress(BidkitError):  # ECS may have replaced it
                await ask("unpause", container)


def _container(system: System, name: str) -> Container:
    engine, project = Engine(), StateDir(system.home.folder).project
    (network,) = engine.networks(project)
    found = next(one for one in engine.containers(project) if one.replica == name)
    called = docker_cli.ask("network", "inspect", "-f", "{{.Name}}", network).strip()
    return Container(found, network=called)


def _send(tree: list[psutil.Process], number: signal.Signals) -> None:
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


async def _ended(process: psutil.Process, *, within_s: float) -> None:
    """Its suspended supervisor does not reap it: it stays a zombie. Killed if it takes too long."""
    deadline = time.monotonic() + within_s

    def gone() -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            if time.monotonic() > deadline:
                process.kill()
        except psutil.NoSuchProcess:
            return True
        return False

    await until(gone, within_s=within_s + 10, what=f"process {process.pid} ends")
