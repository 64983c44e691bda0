"""What a supervised process runs: a replica of a service, or a store."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Protocol

from pkg.devkit.names import MODULES
from pkg.devkit.process.launch import Launch
from pkg.devkit.process.probes import http_status, service_says
from pkg.devkit.process.servers import Server
from pkg.devkit.service_settings import stop_within_s
from pkg.devkit.settings import PROJECT


class Workload(Protocol):
    @property
    def port(self) -> int: ...
    def launch(self) -> Launch: ...
    async def unready(self) -> str | None:
        """None if it is ready, else the reason."""

    async def alive(self) -> bool:
        """False if only a restart helps."""

    def close(self) -> None: ...


class StoreWorkload:
    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def port(self) -> int:
        return self._server.port

    def launch(self) -> Launch:
        return self._server.launch()

    async def unready(self) -> str | None:
        return await asyncio.to_thread(self._server.unready)

    async def alive(self) -> bool:
        # A slow store may be reading its log or writing a checkpoint, and killing it would only
        # make that longer. So a store counts as alive until it ends.
        return True

    def close(self) -> None:
        pass


class ServiceWorkload:
    """One replica of a service. It shares the public socket and has its own admin socket.

    Both are bound here and inherited, so that no port is ever guessed and none is lost between
    one process and the next.
    """

    def __init__(
        self,
        service: str,
        *,
        listener: Callable[[], socket.socket | None],
        settings: Mapping[str, str],
    ) -> None:
        self._service = service
        self._listener = listener
        self._settings = settings
        self._admin = socket.create_server(("127.0.0.1", 0), backlog=64)
        # A closed socket has no port, and the status may be read just then.
        self._port: int = self._admin.getsockname()[1]

    @property
    def port(self) -> int:
        return self._port

    def launch(self) -> Launch:
        addresses = {"ADMIN_ADDR": f"fd:{self._admin.fileno()}"}
        sockets = [self._admin.fileno()]
        if listener := self._listener():
            addresses["SERVER_ADDR"] = f"fd:{listener.fileno()}"
            sockets.append(listener.fileno())
        return Launch(
            argv=service_command(self._service),
            env=service_environment({**self._settings, **addresses}),
            cwd=PROJECT,
            pass_fds=tuple(sockets),
            stop_within_s=stop_within_s(self._settings),
        )

    async def unready(self) -> str | None:
        return await service_says(self.port)

    async def alive(self) -> bool:
        return await http_status(self.port, "/health") == 200  # noqa: PLR2004

    def close(self) -> None:
        self._admin.close()


def service_command(service: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", MODULES[service], *arguments)


def service_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """A service's environment: what bidkit sets, and nothing else that could change behaviour."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ")
    ours = {name: os.environ[name] for name in kept if name in os.environ}
    return ours | {"PYTHONPATH": str(PROJECT)} | dict(settings)
