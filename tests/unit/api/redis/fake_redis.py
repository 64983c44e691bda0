"""A small Redis on a real socket, whose replies a test may delay, split, drop or corrupt."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import hiredis

from pkg.api.redis.connection import RedisConnection
from tests.tcp import listening

Answer = Callable[[list[bytes]], bytes | None]
"""From a command to the bytes that answer it; None for a command that is never answered."""


def echo(command: list[bytes]) -> bytes | None:
    """ECHO as Redis answers it; every other command is answered +OK."""
    if command[0].upper() != b"ECHO":
        return b"+OK\r\n"
    return b"$%d\r\n%b\r\n" % (len(command[1]), command[1])


@dataclass
class FakeRedis:
    """Answers in order. ``answer`` may be replaced at any time."""

    answer: Answer = echo
    cut_into: int = 0
    """Replies are written in random pieces of at most this many bytes; 0: whole."""

    delay_s: float = 0.0
    """Each reply waits up to this long."""

    reads: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: the server stops reading, like one that hangs."""

    received: list[list[bytes]] = field(default_factory=list)
    connected_at: list[float] = field(default_factory=list)
    port: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reads.set()

    @property
    def connections(self) -> int:
        return len(self.connected_at)

    def drop(self) -> None:
        """Closes every connection, like a server that dies."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def say(self, data: bytes) -> None:
        """Sends unexpected bytes."""
        for writer in self._writers:
            writer.write(data)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected_at.append(time.monotonic())
        self._writers.append(writer)
        commands = hiredis.Reader()
        with suppress(ConnectionError, hiredis.ProtocolError):  # a TLS greeting is no command
            while True:
                await self.reads.wait()
                data = await reader.read(65536)
                if not data:
                    break
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    self.received.append(command)
                    reply = self.answer(command)
                    if reply is not None:
                        await self._write(writer, reply)
        writer.close()

    async def _write(self, writer: asyncio.StreamWriter, reply: bytes) -> None:
        if self.delay_s:
            await asyncio.sleep(random.uniform(0, self.delay_s))
        while self.cut_into and reply:
            length = random.randint(1, self.cut_into)
            writer.write(reply[:length])
            await writer.drain()
            await asyncio.sleep(0)
            reply = reply[length:]
        writer.write(reply)
        await writer.drain()


@asynccontextmanager
async def fake_redis() -> AsyncIterator[FakeRedis]:
    redis = FakeRedis()
    async with listening(redis.serve) as redis.port:
        yield redis


@dataclass
class Losses:
    """Counts how often a connection reported its end."""

    count: int = 0

    def __call__(self) -> None:
        self.count += 1


async def connect(
    port: int,
    *,
    timeout_s: float = 2.0,
    queue_max: int = 10_000,
    on_lost: Callable[[], None] = lambda: None,
) -> RedisConnection:
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: RedisConnection(timeout_s=timeout_s, queue_max=queue_max, on_lost=on_lost),
        "127.0.0.1",
        port,
    )
    return connection


async def failure(future: Awaitable[object]) -> BaseException:
    """The exception that the future raises; AssertionError if it raises none."""
    try:
        value = await future
    except Exception as error:  # noqa: BLE001 - handed to the test, which looks at it
        return error
    raise AssertionError(f"no failure but {value!r}")
