"""The system under test: a separate one, that bidkit's own backends start, ask and stop."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psutil

from pkg.devkit import views
from pkg.devkit.backend import Backend, BackendName, Options
from pkg.devkit.choice import Choice
from pkg.devkit.errors import BadArgument, BidkitError
from pkg.devkit.home import Home, load
from pkg.devkit.names import API
from pkg.devkit.ports import free_ports
from pkg.devkit.process.control import Address
from pkg.devkit.process.servers import delete_tree
from pkg.devkit.settings import PROJECT, DevkitSettings
from pkg.devkit.system import ReplicaStatus, SystemStatus
from pkg.trials import findings, metrics_text
from pkg.trials.experiments import emulated
from pkg.trials.waiting import until

READY_WITHIN_S = 120.0
DRAIN_WITHIN_S = 60.0
_AUDIT_WAITS_S = 30.0


class Quiet:
    """A Watcher that shows nothing: an experiment has a progress of its own."""

    def status(self, now: SystemStatus) -> None: ...
    def event(self, line: str) -> None: ...
    def ready(self, now: SystemStatus) -> None: ...
    def already(self, now: SystemStatus) -> None: ...


@dataclass
class System:
    """Calls that block run in threads; one at a time."""

    backend: Backend
    home: Home
    ports: tuple[int, int]
    """Of the API and of the broadcast, on loopback; in the cloud one load balancer serves both."""
    replicas: dict[str, int] = field(default_factory=dict)

    @property
    def in_cloud(self) -> bool:
        return self.backend.name is BackendName.CLOUD

    @property
    def api_port(self) -> int:
        return self.ports[0]

    @property
    def broadcast_port(self) -> int:
        return self.ports[1]

    async def status(self) -> SystemStatus:
        return await asyncio.to_thread(self.backend.status)

    async def settings(self) -> Mapping[str, Mapping[str, str]]:
        return await asyncio.to_thread(self.backend.settings)

    async def replicas_of(self, part: str) -> Sequence[ReplicaStatus]:
        return (await self.status()).of(part).replicas

    async def scale(self, service: str, replicas: int) -> None:
        await asyncio.to_thread(self.backend.scale, {service: replicas}, say=lambda _line: None)

    async def renew(self, service: str, replicas: int) -> None:
        """New processes: they hold no memory of earlier runs."""
        if self.in_cloud:  # a service that scales itself cannot be scaled to none
            await self.scale(service, replicas)
            await asyncio.to_thread(self.backend.restart, service, say=lambda _line: None)
            return
        await self.scale(service, 0)
        await self.scale(service, replicas)

    async def becomes_ready(self) -> None:
        async def ready() -> bool:
            return (await self.status()).ready

        await until(
            ready,
            within_s=READY_WITHIN_S,
            every_s=0.2,
            what="the whole system is ready",
            forgiving=(BidkitError,),
        )

    async def metrics(self, service: str) -> list[bytes]:
        """A page of each replica that answers."""
        pages = await asyncio.gather(*(page(one) for one in await self.replicas_of(service)))
        return [page for page in pages if page]

    async def metric(self, service: str, name: str) -> float:
        return metrics_text.total(await self.metrics(service), name)

    async def cpu_s(self, part: str) -> float:
        """CPU time of the part's processes so far, their children's included."""
        return sum(_cpu_s(pid) for pid in await self._pids(part))

    async def rss_bytes(self, part: str) -> int:
        return sum(psutil.Process(pid).memory_info().rss for pid in await self._pids(part))

    async def _pids(self, part: str) -> list[int]:
        replicas = await self.replicas_of(part)
        if self.in_cloud:  # AWS' APIs know no processes
            one_by_one = (asyncio.to_thread(emulated.pid_of, self.home, one) for one in replicas)
            return await asyncio.gather(*one_by_one)
        return [one.pid for one in replicas if one.pid]

    async def drained(self) -> None:
        """Returns when the archive has every bid."""

        async def empty() -> bool:
            pages = [page for page in await self.metrics(API) if metrics_text.is_relaying(page)]
            return bool(pages) and metrics_text.total(pages, "bid_outbox_depth") == 0

        await until(empty, within_s=DRAIN_WITHIN_S, every_s=0.1, what="the outboxes drain")

    async def audit(self) -> str:
        """`ok`, or the sentence of what is wrong."""
        try:
            code, found = await findings.audit(self._audit, environment={}, wait_s=_AUDIT_WAITS_S)
        except (findings.AuditUnableError, TimeoutError) as error:
            return str(error).strip() or "the audit did not end"
        return "ok" if code == 0 else found.summary

    async def _audit(
        self, *arguments: str, environment: Mapping[str, str], within_s: float
    ) -> tuple[int, str, str]:
        """Through bidkit, for a backend writes what its audit says to standard output."""
        ran = await asyncio.to_thread(
            subprocess.run,
            (sys.executable, "-P", "-m", "pkg.devkit", *arguments),
            env={
                **os.environ,
                **environment,
                "PYTHONPATH": str(PROJECT),
                "BIDKIT_HOME": str(self.home.folder),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        return ran.returncode, ran.stdout, ran.stderr


@contextlib.asynccontextmanager
async def running(
    on: BackendName, *, replicas: Mapping[str, int], settings: Mapping[str, str]
) -> AsyncIterator[System]:
    """A ready system with empty stores while the block runs. Its data is deleted afterwards.

    What a killed experiment left is ended first.
    """
    folder = DevkitSettings.read().home / "experiment"
    with Home(folder / "owner").lock() as ours:
        if not ours:
            raise BadArgument("an experiment of this home is running already; wait for it.")
        home = Home(folder / "system")
        backend = Choice(home).named(on)
        options = _options(on, settings)
        await asyncio.to_thread(_remove, backend, home)
        try:
            # A thread cannot be cancelled, and what it starts after the clean-up would stay.
            starting = asyncio.create_task(asyncio.to_thread(_up, backend, options))
            try:
                await asyncio.shield(starting)
            finally:
                await asyncio.wait([starting])
            status = await asyncio.to_thread(backend.status)
            urls = (status.api_url, status.websocket_url)
            api, broadcast = (urlsplit(url).port or 80 for url in urls)
            system = System(backend, home, (api, broadcast), dict(replicas))
            for service, number in replicas.items():
                await system.scale(service, number)
            await system.becomes_ready()
            yield system
        finally:
            removing = asyncio.create_task(asyncio.to_thread(_remove, backend, home))
            await asyncio.wait([removing])
            if error := removing.exception():
                views.complain(f"bidkit: {error}")


def _options(on: BackendName, settings: Mapping[str, str]) -> Options:
    if on is BackendName.CLOUD:  # which chooses its ports itself
        return Options(settings=settings)
    api, broadcast, edge = free_ports(3)
    return Options(api_port=api, broadcast_port=broadcast, edge_port=edge, settings=dict(settings))


def _up(backend: Backend, options: Options) -> None:
    backend.up(options, detach=True, watcher=Quiet())


def _remove(backend: Backend, home: Home) -> None:
    # A killed resilience experiment may have left it suspended.
    if address := load(home.supervisor, Address):
        with contextlib.suppress(psutil.Error):
            psutil.Process(address.pid).resume()
    backend.down(volumes=True, say=lambda _line: None)
    delete_tree(home.folder)


async def page(replica: ReplicaStatus) -> bytes:
    """The text of its `/metrics`; empty if it does not answer."""
    return b"" if replica.port is None else await metrics_text.page(replica.host, replica.port)


def _cpu_s(pid: int) -> float:
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system
    return total
