"""A container of the stack that a fault can kill, pause, disconnect or wipe."""

import asyncio
import json
import subprocess
from datetime import UTC, datetime
from typing import Any

from pkg.devkit import docker_cli
from pkg.devkit.compose.container import Container as ComposeContainer
from pkg.devkit.errors import BidkitError
from pkg.trials.waiting import NotInTimeError, until

HEALTHY_WITHIN_S = 45.0
_ENDS_WITHIN_S = 40.0
_LAST_LINES = 20

_METRICS = (
    "import sys, urllib.request as web; "
    "sys.stdout.write(web.urlopen(sys.argv[1], timeout=2).read().decode())"
)


async def ask(*arguments: str, within_s: float = 60.0) -> str:
    """The output of `docker ARGUMENTS`. Raises BidkitError with docker's message."""
    return await asyncio.to_thread(docker_cli.ask, *arguments, within_s=within_s)


class Container:
    """Keeps its id, name and data as long as the stack exists."""

    def __init__(self, found: ComposeContainer, *, network: str) -> None:
        self.id = found.id
        self.service = found.service
        self.name = found.replica
        self.container_name = found.name
        self._health_port = found.health_port
        self._network = network
        self._since = datetime.now(UTC)

    @property
    def process(self) -> "Container":
        return self

    @property
    def alive(self) -> bool:
        state = json.loads(docker_cli.ask("inspect", "-f", "{{json .State}}", self.id))
        return bool(state["Status"] == "running")

    @property
    def crashes(self) -> int:
        """How often Docker restarted it since the bench started it."""
        return int(docker_cli.ask("inspect", "-f", "{{.RestartCount}}", self.id))

    async def running(self) -> bool:
        """Paused counts as running."""
        status: str = (await self._inspect())["State"]["Status"]
        return status in {"running", "paused"}

    def log_contains(self, text: str) -> bool:
        """Whether its log since the row began contains the text. Raises BidkitError as `lines`."""
        return any(text in line for line in self.lines())

    def lines(self) -> list[str]:
        """Its log since the row began. Raises BidkitError if Docker cannot read it."""
        try:
            ran = subprocess.run(
                ("docker", "logs", "--since", self._since.isoformat(), self.id),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=docker_cli.ANSWER_WITHIN_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BidkitError(f"the log of {self.name} could not be read") from None
        lines = ran.stdout.decode(errors="replace").splitlines()
        if ran.returncode:
            raise BidkitError(f"the log of {self.name} could not be read: {lines[-1:]}")
        return lines

    def forget_log(self) -> None:
        """Skips the log so far: it belongs to an earlier row."""
        self._since = datetime.now(UTC)

    async def start(self) -> None:
        """Returns when it is healthy: running, not paused, connected. Same name, same data."""
        await self.begin()
        await self.becomes_healthy()

    async def stop(self) -> None:
        """Stops it gracefully; returns when it has ended."""
        await ask("stop", self.id, within_s=_ENDS_WITHIN_S)

    async def kill(self) -> None:
        """Kills it, like a crash, except that Docker does not restart it then."""
        await ask("kill", "--signal", "KILL", self.id)
        await ask("wait", self.id, within_s=_ENDS_WITHIN_S)

    async def restart(self, *, after_s: float = 0.5) -> None:
        await asyncio.sleep(after_s)
        await self.start()

    async def pause(self) -> None:
        """Freezes all its processes; its connections stay."""
        await ask("pause", self.id)

    async def resume(self) -> None:
        await ask("unpause", self.id)

    async def disconnect(self) -> None:
        """Cuts it off at once; no peer is notified."""
        await ask("network", "disconnect", self._network, self.id)

    async def connect(self) -> None:
        """Reconnects it under the same names; its address may differ."""
        names = ("--alias", self.service, "--alias", self.container_name)
        await ask("network", "connect", *names, self._network, self.id)

    async def discard(self) -> None:
        """Deletes the data on its volumes. It must not run."""
        inspected = await self._inspect()
        folders = [one["Destination"] for one in inspected["Mounts"] if one["Type"] == "volume"]
        await ask(
            *("run", "--rm", "--network", "none", "--user", "0", "--volumes-from", self.id),
            *("--entrypoint", "find", inspected["Image"], *folders, "-mindepth", "1", "-delete"),
        )

    async def becomes_healthy(self) -> None:
        try:
            await until(
                self._healthy,
                within_s=HEALTHY_WITHIN_S,
                what=f"{self.name} becomes healthy",
                every_s=0.25,
            )
        except NotInTimeError as error:
            error.add_note("\n".join(self.lines()[-_LAST_LINES:]))
            raise

    async def metrics(self) -> bytes:
        """Its metrics page; empty if it does not answer."""
        url = f"http://127.0.0.1:{self._health_port}/metrics"
        try:
            page = await ask("exec", self.id, "python", "-c", _METRICS, url, within_s=10)
        except BidkitError:
            return b""
        return page.encode()

    async def begin(self) -> None:
        """As `start`, but returns before it is healthy: recovery is timed from here."""
        inspected = await self._inspect()
        if self._network not in inspected["NetworkSettings"]["Networks"]:
            await self.connect()
        match inspected["State"]["Status"]:
            case "paused":
                await self.resume()
            case "running":
                pass
            case _:
                await ask("start", self.id)

    async def _healthy(self) -> bool:
        state = (await self._inspect())["State"]
        return bool(state["Status"] == "running" and state["Health"]["Status"] == "healthy")

    async def _inspect(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(await ask("container", "inspect", self.id))
        return found[0]


async def each(containers: "list[Container]", verb: str) -> None:
    """Runs one docker command for all of them."""
    await ask(verb, *(one.id for one in containers))
