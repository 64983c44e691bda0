"""The stack's services, reached through the edge and one by one through the engine."""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from pkg.devkit.compose.project import Project
from pkg.devkit.errors import BidkitError
from pkg.devkit.names import ARCHIVAL, MODULES
from pkg.trials.faults import findings, pages
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
        """Services that crashed since they were started by hand, restarted by Docker or not."""
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
        """Stops all that run, paused ones too."""
        alive = [one for one in self.all if await one.running()]
        if alive:
            await each(alive, "kill")

    async def relaying(self) -> Container:
        found: list[Container] = []

        async def somebody() -> bool:
            found[:] = [one for one in self.api if pages.relays(await one.metrics())]
            return bool(found)

        await until(somebody, within_s=20.0, what="a gateway relays")
        return found[0]

    async def counted(self, name: str) -> float:
        return pages.total(await asyncio.gather(*(one.metrics() for one in self.all)), name)

    async def command(
        self,
        *arguments: str,
        environment: Mapping[str, str],  # noqa: ARG002 - compose.yaml says where the stores are
        within_s: float,
    ) -> tuple[int, str, str]:
        """Runs in its own container, which is removed afterwards, successful or not."""
        name = f"{self.project.name}-command-{secrets.token_hex(4)}"
        process = await asyncio.create_subprocess_exec(
            *self.project.command(
                *("--progress", "quiet", "run", "--rm", "--name", name, "--no-deps"),
                "--no-TTY",
                *(ARCHIVAL, "python", "-m", MODULES[ARCHIVAL], *arguments),
            ),
            env=self.project.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that docker and its plugin can be ended together
        )
        try:
            said, complained = await asyncio.wait_for(process.communicate(), timeout=within_s)
        except (
            BaseException
        ) as error:  # also when the row is interrupted: the next row uses this stack
            ending = asyncio.ensure_future(_end(process, name))
            while not ending.done():
                with contextlib.suppress(asyncio.CancelledError):  # one more; raised below
                    await asyncio.shield(ending)
            if isinstance(error, TimeoutError):
                late = f"{' '.join(arguments)}: not within {within_s:g} s"
                raise NotInTimeError(late) from None
            raise
        return process.returncode or 0, said.decode(), complained.decode()

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
