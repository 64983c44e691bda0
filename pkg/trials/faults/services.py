"""The services as processes; replicas share a listening socket, as under bidkit."""

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.nats_users import RESTORE
from pkg.devkit.process.launch import Launch
from pkg.devkit.process.probes import http_status
from pkg.devkit.process.workloads import service_command, service_environment
from pkg.devkit.settings import PROJECT
from pkg.trials import findings, metrics_text
from pkg.trials.faults.child_process import Process
from pkg.trials.waiting import NotInTimeError, until

READY_WITHIN_S = 30.0
_OK = 200

RUN_WITH_SHIFTED_CLOCK = """
import runpy, sys, time
real, real_ns, shift = time.time, time.time_ns, float(sys.argv[1])
time.time = lambda: real() + shift
time.time_ns = lambda: real_ns() + int(shift * 1e9)
sys.argv[:] = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs a module with its wall clock shifted by some seconds."""


@dataclass
class Replica:
    """One process of a service. Its sockets stay open when it ends, as under a supervisor."""

    process: Process
    admin: socket.socket
    clock_off_s: float = 0.0

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def admin_port(self) -> int:
        port: int = self.admin.getsockname()[1]
        return port

    async def ready(self) -> bool:
        return await http_status(self.admin_port, "/ready") == _OK

    async def becomes_ready(self) -> None:
        try:
            await until(self.ready, within_s=READY_WITHIN_S, what=f"{self.name} becomes ready")
        except NotInTimeError as error:
            error.add_note(self.process.log)
            raise

    async def metrics(self) -> bytes:
        """The text of `/metrics`; empty if it does not answer."""
        return await metrics_text.page("127.0.0.1", self.admin_port)

    async def restart(self, *, after_s: float = 0.5) -> None:
        """Starts it again, as a supervisor would; returns when it is ready."""
        await asyncio.sleep(after_s)
        self.process.start()
        await self.becomes_ready()

    async def alive(self) -> bool:
        return await http_status(self.admin_port, "/health") == _OK

    async def stop(self) -> None:
        """Stops it gracefully; returns when it has ended."""
        await self.process.stop(signal.SIGTERM)

    async def replace(self) -> None:
        """A step of a rolling restart: the other replicas serve meanwhile."""
        await self.stop()
        await self.restart(after_s=0)


@dataclass
class Services:
    """Started by `start`; `abandon` kills every process."""

    environment: dict[str, str]
    nats_user: Callable[[str], Mapping[str, str]]
    """Settings of a service, or of restore, by which it connects to NATS."""

    logs: Path
    api: list[Replica] = field(default_factory=list)
    broadcast: list[Replica] = field(default_factory=list)
    archival: list[Replica] = field(default_factory=list)
    prefix: str = ""
    """Of the replicas' names."""
    _public: dict[str, socket.socket] = field(default_factory=dict)

    @property
    def all(self) -> Sequence[Replica]:
        return (*self.api, *self.broadcast, *self.archival)

    @property
    def dead(self) -> list[str]:
        """Replicas that ended by themselves: a row restarts what it kills."""
        return [replica.name for replica in self.all if not replica.process.alive]

    @property
    def api_port(self) -> int:
        port: int = self._public[API].getsockname()[1]
        return port

    @property
    def broadcast_port(self) -> int:
        port: int = self._public[BROADCAST].getsockname()[1]
        return port

    def add_gateway(self) -> Replica:
        """The only gateway of these services, not started."""
        self._public[API] = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.api = [self._replica(API, 1)]
        return self.api[0]

    def add_archiver(self) -> Replica:
        """The only archiver of these services, not started."""
        self.archival = [self._replica(ARCHIVAL, 1)]
        return self.archival[0]

    async def start(self, *, archivers: int, clock_off_s: float = 0.0) -> None:
        """Starts two gateways (the first with `clock_off_s`), two broadcasters, and archivers."""
        for service in (API, BROADCAST):
            self._public[service] = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.api = [self._replica(API, 1, clock_off_s), self._replica(API, 2)]
        self.broadcast = [self._replica(BROADCAST, number) for number in (1, 2)]
        self.archival = [self._replica(ARCHIVAL, number + 1) for number in range(archivers)]
        for replica in self.all:
            replica.process.start()
        await asyncio.gather(*(replica.becomes_ready() for replica in self.all))

    async def relaying_gateway(self) -> Replica:
        """The gateway that relays now.

        Raises:
            NotInTimeError: none relays for a while.
        """
        found: list[Replica] = []

        async def one_relays() -> bool:
            found[:] = [one for one in self.api if metrics_text.is_relaying(await one.metrics())]
            return bool(found)

        await until(one_relays, within_s=15.0, what="a gateway relays")
        return found[0]

    async def metric_total(self, name: str) -> float:
        """The sum of a metric over all replicas that answer."""
        return metrics_text.total(await asyncio.gather(*(one.metrics() for one in self.all)), name)

    async def command(
        self, *arguments: str, environment: Mapping[str, str], within_s: float
    ) -> tuple[int, str, str]:
        """Runs `python -m pkg.archival …`; returns exit code, standard output, standard error."""
        user = RESTORE if RESTORE in arguments else ARCHIVAL
        process = await asyncio.create_subprocess_exec(
            *service_command(ARCHIVAL, *arguments),
            env=service_environment({"LOG_FORMAT": "text", **environment, **self.nats_user(user)}),
            cwd=PROJECT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            stdout, stderr = await asyncio.wait_for(process.communicate(), timeout=within_s)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise NotInTimeError(f"{' '.join(arguments)}: not within {within_s:g} s") from None
        return process.returncode or 0, stdout.decode(), stderr.decode()

    async def audit(
        self, *, environment: Mapping[str, str], wait_s: float
    ) -> tuple[int, findings.Findings]:
        return await findings.audit(self.command, environment=environment, wait_s=wait_s)

    def abandon(self) -> None:
        for replica in self.all:
            replica.process.abandon()
            replica.admin.close()
        for listener in self._public.values():
            listener.close()

    def _replica(self, service: str, number: int, clock_off_s: float = 0.0) -> Replica:
        """Each start uses `environment` as it is then."""
        admin = socket.create_server(("127.0.0.1", 0), backlog=64)
        name = f"{self.prefix}{service}-{number}"

        def launch() -> Launch:
            sockets = [admin.fileno()]
            addresses = {"ADMIN_ADDR": f"fd:{admin.fileno()}"}
            if listener := self._public.get(service):
                addresses["SERVER_ADDR"] = f"fd:{listener.fileno()}"
                sockets.append(listener.fileno())
            argv = service_command(service)
            if clock_off_s:
                argv = (*argv[:-2], "-c", RUN_WITH_SHIFTED_CLOCK, str(clock_off_s), argv[-1])
            return Launch(
                argv=argv,
                env=service_environment(
                    {**self.environment, **self.nats_user(service), **addresses}
                ),
                cwd=PROJECT,
                pass_fds=tuple(sockets),
            )

        process = Process(name, launch, log=self.logs / f"{name}.log")
        return Replica(process, admin, clock_off_s)
