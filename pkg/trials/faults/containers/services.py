"""The stack's services: clients use the edge, faults the Docker engine."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from pkg.devkit.compose.oneoff import container_name, run_command
from pkg.devkit.compose.project import Project
from pkg.devkit.errors import BidkitError
from pkg.devkit.names import ARCHIVAL
from pkg.devkit.nats_users import RESTORE
from pkg.trials import findings, metrics_text
from pkg.trials.faults.containers.container import Container, ask, each
from pkg.trials.waiting import NotInTimeError, until


@dataclass(frozen=True, slots=True)
class ContainerServices:
    project: Project
    edge_port: int
    api: list[Container]
    broadcast: list[Container]
    archival: list[Container]

    @property
    def all(self) -> list[Container]:
        return [*self.api, *self.broadcast, *self.archival]

    @property
    def dead(self) -> list[str]:
        """Services that crashed since the bench started them, also if Docker restarted them."""
        return [one.name for one in self.all if not one.alive or one.crashes]

    @property
    def api_port(self) -> int:
        return self.edge_port

    @property
    def broadcast_port(self) -> int:
        return self.edge_port

    async def start(self) -> None:
        for one in self.all:
            one.forget_log()
        await asyncio.gather(*(one.start() for one in self.all))

    async def kill(self) -> None:
        """Kills all that run or are paused."""
        alive = [one for one in self.all if await one.running()]
        if alive:
            await each(alive, "kill")

    async def relaying_gateway(self) -> Container:
        found: list[Container] = []

        async def one_relays() -> bool:
            found[:] = [one for one in self.api if metrics_text.is_relaying(await one.metrics())]
            return bool(found)

        await until(one_relays, within_s=20.0, what="a gateway relays")
        return found[0]

    async def metric_total(self, name: str) -> float:
        return metrics_text.total(await asyncio.gather(*(one.metrics() for one in self.all)), name)

    async def command(
        self,
        *arguments: str,
        environment: Mapping[str, str],  # noqa: ARG002 - compose.yaml says where the stores are
        within_s: float,
    ) -> tuple[int, str, str]:
        """Runs the command in a container that is removed afterwards in any case."""
        service = RESTORE if RESTORE in arguments else ARCHIVAL
        name = container_name(self.project)
        process = await asyncio.create_subprocess_exec(
            *run_command(self.project, name, service, *arguments),
            env=self.project.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that docker and its compose plugin can be killed together
        )
        try:
            stdout, stderr = await asyncio.wait_for(process.communicate(), timeout=within_s)
        except (
            BaseException
        ) as error:  # also when the row is interrupted: the next row uses this stack
            ending = asyncio.ensure_future(_end(process, name))
            while not ending.done():
                with contextlib.suppress(asyncio.CancelledError):  # the first one is raised below
                    await asyncio.shield(ending)
            if isinstance(error, TimeoutError):
                message = f"{' '.join(arguments)}: not within {within_s:g} s"
                raise NotInTimeError(message) from None
            raise
        return process.returncode or 0, stdout.decode(), stderr.decode()

    async def audit(
        self, *, environment: Mapping[str, str], wait_s: float
    ) -> tuple[int, findings.Findings]:
        return await findings.audit(self.command, environment=environment, wait_s=wait_s)


async def _end(process: asyncio.subprocess.Process, container: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    with contextlib.suppress(BidkitError):  # not made yet, or already gone
        await ask("rm", "--force", container)
