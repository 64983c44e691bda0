"""Two Redis servers behind one address, and a fail-over that closes no connection."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from pkg.devkit.ports import free_ports
from pkg.devkit.process.servers import RedisServer
from pkg.trials.waiting import until
from tests.tcp import Serve, listening


@dataclass
class Pair:
    """The address leads new connections to the primary; open ones stay where they are."""

    url: str
    old: Redis
    new: Redis
    ports: tuple[int, int]
    target: list[int]
    primary: "subprocess.Popen[bytes]"

    async def cut_replication(self) -> None:
        """Stops replication once the replica has all that was written until now."""
        await self._replica_has_all()
        await self.new.replicaof("NO", "ONE")

    async def lose_primary(self) -> None:
        """Kills the primary; the replica takes over with what it has."""
        self.primary.kill()
        self.primary.wait()
        await self.new.replicaof("NO", "ONE")
        self.target[0] = self.ports[1]

    async def fail_over(self) -> None:
        """The replica takes over; the old primary follows it and closes no connection."""
        await self._replica_has_all()
        await self.new.replicaof("NO", "ONE")
        self.target[0] = self.ports[1]
        await self.old.replicaof("127.0.0.1", str(self.ports[1]))

    async def _replica_has_all(self) -> None:
        """A bid's 201 does not wait for it unless REDIS_MIN_REPLICAS says so."""
        written = (await self.old.info("replication"))["master_repl_offset"]

        async def has_all() -> bool:
            return bool((await self.new.info("replication"))["slave_repl_offset"] >= written)

        await until(has_all, within_s=10)


@asynccontextmanager
async def two_redis(folder: Path) -> AsyncIterator[Pair]:
    """A primary and a replica that is up to date."""
    first, second = free_ports(2)
    target = [first]
    with _running(folder / "first", first) as one, _running(folder / "second", second) as two:
        await until(lambda: one[0].unready() is None and two[0].unready() is None, within_s=10)
        async with (
            Redis(port=first) as old,
            Redis(port=second) as new,
            listening(_forwarding_to(target)) as entrance,
        ):
            await new.replicaof("127.0.0.1", str(first))

            async def replicates() -> bool:
                return (await new.info("replication")).get("master_link_status") == "up"

            await until(replicates, within_s=20)
            yield Pair(
                f"redis://127.0.0.1:{entrance}/0",
                old,
                new,
                (first, second),
                target,
                one[1],
            )


@contextmanager
def _running(data: Path, port: int) -> "Iterator[tuple[RedisServer, subprocess.Popen[bytes]]]":
    server = RedisServer(data=data, port=port)
    server.prepare()
    launch = server.launch()
    process = subprocess.Popen(
        launch.argv,
        **launch.options(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield server, process
    finally:
        process.kill()
        process.wait()


def _forwarding_to(target: list[int]) -> Serve:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target[0])
        await asyncio.gather(pump(reader, back), pump(there, writer))

    return forward
