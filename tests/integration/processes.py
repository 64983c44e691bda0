"""Runs our services as processes, as in production."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from pkg.devkit.names import ALIASES, API
from pkg.devkit.nats_users import RESTORE
from pkg.devkit.process.launch import Launch
from pkg.devkit.process.probes import http_status
from pkg.trials.waiting import until
from tests.integration.new_redis import declare_new

ROOT = Path(__file__).resolve().parents[2]

_READY_WITHIN_S = 15.0


@dataclass
class Replica:
    """One process of a service."""

    name: str
    admin_url: str
    """Health, readiness and metrics of this process."""

    admin_port: int
    process: asyncio.subprocess.Process
    log_file: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")[-6000:]

    async def ready(self) -> bool:
        assert self.process.returncode is None, f"{self.name} ended by itself\n{self.log}"
        return await http_status(self.admin_port, "/ready", timeout_s=2.0) == 200

    async def becomes_ready(self, *, within_s: float = _READY_WITHIN_S) -> None:
        await until(self.ready, within_s=within_s, log=lambda: self.log)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stops it and returns the exit code: -9 if it had to be killed after 20 s."""
        if self.process.returncode is None:
            self.process.send_signal(how)
        try:
            return await asyncio.wait_for(self.process.wait(), timeout=20)
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()


@dataclass
class Service:
    """Replicas that share one listening socket, as under bidkit."""

    name: str
    url: str
    """`http://…` of the public address, or of the admin address if there is no public one."""

    replicas: list[Replica] = field(default_factory=list)

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http://", "ws://", 1)

    @property
    def log(self) -> str:
        return "\n".join(f"=== {one.name} ===\n{one.log}" for one in self.replicas)


class Services:
    """Use as `await services.api(env={"BID_STRATEGY": "optimistic"}, replicas=2)`.

    At the end all are stopped and their logs printed; pytest shows these if the test failed.
    """

    def __init__(self, *, environment_of: Callable[[str], Mapping[str, str]], logs: Path) -> None:
        """`environment_of` a service, or of a command that has a NATS user of its own."""
        self._environment_of = environment_of
        self._logs = logs
        self._replicas: list[Replica] = []
        self._listeners: dict[str, socket.socket] = {}
        self._declared: set[str] = set()

    async def api(
        self,
        *,
        env: Mapping[str, str] | None = None,
        replicas: int = 1,
        wait: bool = True,
        declared_new: bool = True,
    ) -> Service:
        """``declared_new``: an empty Redis opens at once, although no archive runs."""
        # The default of two seconds is too short if the machine stalls.
        patient = {"REDIS_TIMEOUT_S": "10"}
        defaults = {"BID_STRATEGY_OVERRIDE": "true", "ARCHIVE_HEARING_S": "0", **patient}
        env = {**defaults, **(env or {})}
        if declared_new:
            await self.declare_new(env)
        return await self._service("api", env, replicas, wait=wait)

    async def relay(self, *, env: Mapping[str, str] | None = None, wait: bool = True) -> Service:
        await self.declare_new(env)
        return await self._service("api relay", env or {}, 1, wait=wait, public=False)

    async def broadcast(
        self, *, env: Mapping[str, str] | None = None, replicas: int = 1, wait: bool = True
    ) -> Service:
        return await self._service("broadcast", env or {}, replicas, wait=wait)

    async def archival(
        self, *, env: Mapping[str, str] | None = None, replicas: int = 1, wait: bool = True
    ) -> Service:
        return await self._service("archival", env or {}, replicas, wait=wait, public=False)

    async def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, within_s: float = 45.0
    ) -> tuple[int, str, str]:
        """Runs `python -m pkg.<arguments>`, such as `run("archival", "audit", "--json")`.

        Returns the exit code, standard output and standard error.
        """
        module, *rest = arguments
        launch = self._launch(module, rest, env or {}, fds=())
        process = await asyncio.create_subprocess_exec(
            *launch.argv,
            **launch.options(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            stdout, stderr = await asyncio.wait_for(process.communicate(), timeout=within_s)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, stdout.decode(), stderr.decode()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        await asyncio.gather(*(one.end() for one in self._replicas))
        for listener in self._listeners.values():
            listener.close()
        for one in self._replicas:
            print(f"=== {one.name} ===\n{one.log}")  # noqa: T201 - pytest shows it for failed tests

    async def declare_new(self, env: Mapping[str, str] | None = None) -> None:
        """As before the first gateway; for tests in which Redis is away by then.

        Once a test and Redis: if a test empties it later, that is a loss.
        """
        env = env or {}
        url = env.get("REDIS_URL") or self._environment_of(API)["REDIS_URL"]
        if url not in self._declared:
            self._declared.add(url)
            await declare_new(url, partitions=int(env.get("PARTITIONS", "4")))

    async def _service(
        self, command: str, env: Mapping[str, str], count: int, *, wait: bool, public: bool = True
    ) -> Service:
        """Further replicas of a service share its address."""
        module, *arguments = command.split()
        listener: socket.socket | None = None
        if public:
            if module not in self._listeners:
                self._listeners[module] = socket.create_server(("127.0.0.1", 0), backlog=4096)
            listener = self._listeners[module]
        started = [
            await self._replica(command, module, arguments, env, listener) for _ in range(count)
        ]
        if wait:
            await asyncio.gather(*(one.becomes_ready() for one in started))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}" if listener else started[0].admin_url
        return Service(name=command, url=url, replicas=started)

    async def _replica(
        self,
        command: str,
        module: str,
        arguments: list[str],
        env: Mapping[str, str],
        listener: socket.socket | None,
    ) -> Replica:
        name = f"{command.replace(' ', '-')}-{len(self._replicas) + 1}"
        log_file = self._logs / f"{name}.log"
        with socket.create_server(("127.0.0.1", 0), backlog=128) as admin:
            fds = [admin.fileno()]
            addresses = {"ADMIN_ADDR": f"fd:{admin.fileno()}"}
            if listener:
                fds.append(listener.fileno())
                addresses["SERVER_ADDR"] = f"fd:{listener.fileno()}"
            launch = self._launch(module, arguments, {**addresses, **env}, fds=tuple(fds))
            with log_file.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *launch.argv,
                    **launch.options(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=asyncio.subprocess.STDOUT,
                )
            port = admin.getsockname()[1]
        replica = Replica(
            name=name,
            admin_url=f"http://127.0.0.1:{port}",
            admin_port=port,
            process=process,
            log_file=log_file,
        )
        self._replicas.append(replica)
        return replica

    def _launch(
        self, module: str, arguments: list[str], env: Mapping[str, str], *, fds: tuple[int, ...]
    ) -> Launch:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        user = RESTORE if RESTORE in arguments else ALIASES[module]
        stores = self._environment_of(user)
        base = Launch(
            argv=(sys.executable, "-P", "-m", f"pkg.{module}", *arguments),
            env={**kept, "PYTHONPATH": str(ROOT), "LOG_FORMAT": "text", **stores, **env},
            cwd=self._logs,
            pass_fds=fds,
        )
        return replace(base, orphan_signal=signal.SIGKILL)
