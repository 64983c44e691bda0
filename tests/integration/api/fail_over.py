"""Two Redis behind one address, and a fail-over that cuts no connection."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from redis.asyncio import Redis

from pkg.devkit.process.servers import RedisServer
from tests.integration.providers import Stores, free_ports
from tests.waiting import until


@dataclass
class Pair:
    """The address leads new connections to the primary; standing ones stay where they are."""

    url: str
    old: Redis
    new: Redis
    old_port: int
    new_port: int
    target: list[int]

    async def fail_over(self) -> None:
        await self.new.replicaof("NO", "ONE")
        self.target[0] = self.new_port
        await self.old.replicaof("127.0.0.1", str(self.new_port))


@asynccontextmanager
async def second_redis(stores: Stores, folder: Path) -> AsyncIterator[Pair]:
    """A replica of the session's Redis, in step with it; that one is a primary again at the end."""
    (port,) = free_ports(1)
    old_port = urlsplit(stores.redis_url).port or 0
    server = RedisServer(data=folder / "second", port=port)
    server.prepare()
    launch = server.launch()
    process = subprocess.Popen(  # noqa: ASYNC220 - from the main thread: it ends with that
        launch.argv,
        **launch.options(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    target = [old_port]
    try:
        await until(lambda: server.unready() is None, within_s=10)
        async with (
            Redis.from_url(stores.redis_url) as old,
            Redis(port=port) as new,
            await asyncio.start_server(_forwarding_to(target), "127.0.0.1", 0) as address,
        ):
            await new.replicaof("127.0.0.1", str(old_port))

            async def in_step() -> bool:
                return (await new.info("replication")).get("master_link_status") == "up"

            await until(in_step, within_s=20)
            entrance = address.sockets[0].getsockname()[1]
            try:
                yield Pair(f"redis://127.0.0.1:{entrance}/0", old, new, old_port, port, target)
            finally:
                await old.replicaof("NO", "ONE")
    finally:
        process.kill()
        process.wait()


def _forwarding_to(target: list[int]):  # type: ignore[no-untyped-def]  # noqa: ANN202
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target[0])
        await asyncio.gather(pump(reader, back), pump(there, writer))

    return forward
