"""A TCP proxy in front of a store that imitates slow, cut and half-open networks."""

import asyncio
import random
import socket
import struct
from enum import StrEnum
from types import TracebackType
from typing import Self

_CHUNK = 64 * 1024
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST and drops unsent data


class Condition(StrEnum):
    NORMAL = "normal"
    SLOW = "slow"
    """Every chunk arrives `delay_s` late, in order."""
    HALF_OPEN = "half-open"
    """Connections are accepted and stay open, but nothing passes through them any more."""
    RESETTING = "resetting"
    """Every connection is reset shortly after it was made."""


class Proxy:
    """Listens on `port` and forwards to `target`, another local port. An async context manager."""

    def __init__(self, target: int, *, seed: int = 1) -> None:
        self._target = target
        self._random = random.Random(seed)  # noqa: S311 - moments of failure, not secrets
        self._condition = Condition.NORMAL
        self._delay_s = 0.0
        self._lifetime_s = 0.0
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.accepted = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def restore(self) -> None:
        """New connections work again; half-open ones stay dead, as after a real outage."""
        self._condition = Condition.NORMAL
        self._delay_s = 0.0

    def slow(self, *, delay_s: float) -> None:
        self._condition = Condition.SLOW
        self._delay_s = delay_s

    def half_open(self) -> None:
        self._condition = Condition.HALF_OPEN
        for connection in self._connections:
            connection.dead = True

    def resetting(self, *, after_s: float) -> None:
        """Also resets open connections. Each lives `after_s` on average."""
        self._condition = Condition.RESETTING
        self._lifetime_s = after_s
        for connection in tuple(self._connections):
            self._reset_soon(connection)

    def cut(self) -> None:
        """Resets every open connection."""
        for connection in tuple(self._connections):
            connection.reset()

    def _reset_soon(self, connection: "_Connection") -> None:
        lifetime_s = self._random.uniform(0.0, 2 * self._lifetime_s)
        asyncio.get_running_loop().call_later(lifetime_s, connection.reset)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in one
        self._tasks.add(task)
        upstream: asyncio.StreamWriter | None = None
        connection: _Connection | None = None
        try:
            back, upstream = await asyncio.open_connection("127.0.0.1", self._target)
            connection = _Connection(writer, upstream, dead=self._condition is Condition.HALF_OPEN)
            self._connections.add(connection)
            if self._condition is Condition.RESETTING:
                self._reset_soon(connection)
            forth = asyncio.create_task(self._pump(connection, reader, upstream))
            and_back = asyncio.create_task(self._pump(connection, back, writer))
            try:
                await asyncio.wait({forth, and_back}, return_when=asyncio.FIRST_COMPLETED)
                if connection.dead:  # only the client can end it
                    await forth
            finally:
                for pump in (forth, and_back):
                    pump.cancel()
                await asyncio.gather(forth, and_back, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the store is down, or the bench ends: so does this connection
        finally:
            if connection is not None:
                self._connections.discard(connection)
            for end in (writer, upstream):
                if end is not None:
                    end.close()
            self._tasks.discard(task)

    async def _pump(
        self, connection: "_Connection", source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        """Forwards until the source ends; drops data of dead connections."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1024)
        loop = asyncio.get_running_loop()

        async def deliver() -> None:
            while True:
                due, data = await late.get()
                await asyncio.sleep(due - loop.time())
                if not connection.dead:
                    sink.write(data)
                    await sink.drain()

        delivering: asyncio.Task[None] | None = None
        try:
            while data := await source.read(_CHUNK):
                if connection.dead:
                    continue
                if self._delay_s and delivering is None:
                    delivering = asyncio.create_task(deliver())
                if delivering is not None:  # also after `restore`: delayed chunks go first
                    await late.put((loop.time() + self._delay_s, data))
                else:
                    sink.write(data)
                    await sink.drain()
        except OSError:
            return
        finally:
            if delivering is not None:
                delivering.cancel()
                await asyncio.gather(delivering, return_exceptions=True)


class _Connection:
    def __init__(
        self, client: asyncio.StreamWriter, store: asyncio.StreamWriter, *, dead: bool
    ) -> None:
        self._ends = (client, store)
        self.dead = dead

    def reset(self) -> None:
        for end in self._ends:
            raw = end.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            end.transport.abort()
