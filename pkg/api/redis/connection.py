"""A Redis connection that sends all commands of an event loop tick in one write.

A client library spends 50-90 µs per command on locks, pools and a write; here a command costs its
packing, its share of one write, and a future. Replies arrive in the order of the commands, because
nothing but the one write queue writes to the socket.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import hiredis

from pkg.api.errors import Busy, OutcomeUnknown, RedisUnavailable

Reply = Any
"""A reply as hiredis parses it: bytes, int, None, list, or hiredis.ReplyError inside a list."""


def pack(*parts: str | bytes) -> bytes:
    """A command in Redis' wire format."""
    packed: bytes = hiredis.pack_command(parts)  # type: ignore[arg-type]  # typed as a 1-tuple
    return packed


class Waiter(Protocol):
    """Queued for each command: a future, or something that behaves like one."""

    def done(self) -> bool: ...
    def set_result(self, result: Reply, /) -> None: ...
    def set_exception(self, exception: Exception, /) -> None: ...


class Replies:
    """Queued once per command of a group; collects their replies for one future."""

    __slots__ = ("_replies", "_wanted", "future")

    def __init__(self, future: asyncio.Future[list[Reply]], wanted: int) -> None:
        self.future = future
        self._wanted = wanted
        self._replies: list[Reply] = []

    def done(self) -> bool:
        return self.future.done()

    def set_result(self, reply: Reply) -> None:
        self._replies.append(reply)
        if len(self._replies) == self._wanted:
            self.future.set_result(self._replies)

    def set_exception(self, error: Exception) -> None:
        if isinstance(error, hiredis.ReplyError):
            self.set_result(error)
        else:
            self.future.set_exception(error)


class RedisConnection(asyncio.Protocol):
    """Sends commands in the order of ``submit`` and resolves each with its reply.

    Args:
        timeout_s: the connection closes when a command has waited this long for its reply.
        queue_max: commands that may await replies at once.
        on_lost: called once when the connection ends, also after ``close``.
    """

    def __init__(self, *, timeout_s: float, queue_max: int, on_lost: Callable[[], None]) -> None:
        self._timeout_s = timeout_s
        self._queue_max = queue_max
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader()
        self._unsent: list[bytes] = []
        # Every command awaiting its reply, the sent ones first, and when each was submitted.
        self._waiting: deque[Waiter] = deque()
        self._since: deque[float] = deque()
        self._flush_planned = False
        self._paused = False
        self._watch: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, command: bytes) -> asyncio.Future[Reply]:
        """Queues one packed command; the future gets its reply.

        The future raises ``hiredis.ReplyError`` for an error reply, ``OutcomeUnknown`` when the
        connection ended after the command was sent, ``RedisUnavailable`` when before. Cancelling it
        does not stop the command; the reply is dropped.

        Raises:
            Busy: the queue is full. RedisUnavailable: there is no connection.
        """
        if self._transport is None:
            raise RedisUnavailable
        if len(self._waiting) >= self._queue_max:
            raise Busy
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._unsent.append(command)
        self._waiting.append(future)
        self._since.append(self._loop.time())
        self._plan_flush()
        return future

    def submit_all(self, *commands: bytes) -> asyncio.Future[list[Reply]]:
        """Queues commands back to back; one future gets all replies, error replies included.

        One future and one wake-up, because one per command would cost more than the commands. It
        raises what ``submit``'s does when any reply is lost.
        """
        if self._transport is None:
            raise RedisUnavailable
        if len(self._waiting) + len(commands) > self._queue_max:
            raise Busy
        replies = Replies(self._loop.create_future(), len(commands))
        now = self._loop.time()
        self._unsent.extend(commands)
        for _ in commands:
            self._waiting.append(replies)
            self._since.append(now)
        self._plan_flush()
        return replies.future

    async def execute_command(self, *parts: str) -> Reply:
        """Named as in redis-py, so that ``pkg.stores`` can use either."""
        return await self.submit(pack(*parts))

    def close(self) -> None:
        """Closes at once; commands awaiting replies fail as ``submit`` says."""
        if self._transport is not None:
            self._transport.abort()
            self._lose()

    def _plan_flush(self) -> None:
        if not self._flush_planned and not self._paused:
            self._flush_planned = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_planned = False
        if self._transport is None or self._paused or not self._unsent:
            return
        self._before_write(self._unsent)
        data = b"".join(self._unsent)
        self._unsent.clear()
        self._transport.write(data)

    def _before_write(self, commands: list[bytes]) -> None:
        """Lets a subclass add commands to a flush."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance check: uvloop's transport is not a subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._watch = self._loop.call_later(self._timeout_s / 4, self._check_timeout)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            # False means "incomplete": RESP2 has no booleans.
            while (reply := reader.gets()) is not False:
                self._since.popleft()
                future = self._waiting.popleft()
                if future.done():
                    continue
                if isinstance(reply, hiredis.ReplyError):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            # Not RESP, or a reply too many: from here on replies cannot be matched to commands.
            self.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._transport is not None:
            self._lose()

    def _check_timeout(self) -> None:
        if self._since and self._loop.time() - self._since[0] > self._timeout_s:
            self.close()
        elif self._transport is not None:
            self._watch = self._loop.call_later(self._timeout_s / 4, self._check_timeout)

    def _lose(self) -> None:
        self._transport = None
        if self._watch is not None:
            self._watch.cancel()
        sent = len(self._waiting) - len(self._unsent)
        for position, future in enumerate(self._waiting):
            if not future.done():
                future.set_exception(OutcomeUnknown() if position < sent else RedisUnavailable())
        self._waiting.clear()
        self._since.clear()
        self._unsent.clear()
        self._on_lost()
