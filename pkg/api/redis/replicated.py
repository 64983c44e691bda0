"""A connection that holds replies back until enough replicas have the writes.

It sends one WAIT per flush, not per bid: WAIT covers everything its connection wrote before.
"""

from typing import Any

import hiredis

from pkg.api.errors import OutcomeUnknown
from pkg.api.redis.connection import RedisConnection, Replies, Reply, Waiter, pack


class _Gate:
    """Queued for WAIT; releases the flush's replies, or fails them as ``OutcomeUnknown``."""

    def __init__(self, min_replicas: int) -> None:
        self._min_replicas = min_replicas
        self._held: list[tuple[Waiter, Reply]] = []

    def hold(self, waiter: Waiter, reply: Reply) -> None:
        self._held.append((waiter, reply))

    def done(self) -> bool:
        return False

    def set_result(self, replicas: int) -> None:
        if replicas < self._min_replicas:
            self.set_exception()  # written here, but a fail-over would lose it
            return
        for waiter, reply in self._held:
            if not waiter.done():
                waiter.set_result(reply)

    def set_exception(self, _: Exception | None = None) -> None:
        for waiter, _reply in self._held:
            if not waiter.done():
                waiter.set_exception(OutcomeUnknown())


class _Held:
    """Queued for a command; passes its reply to the gate."""

    def __init__(self, waiter: Waiter, gate: _Gate) -> None:
        self._waiter = waiter
        self._gate = gate

    def done(self) -> bool:
        return False

    def set_result(self, reply: Reply) -> None:
        self._gate.hold(self._waiter, reply)

    def set_exception(self, error: Exception) -> None:
        if isinstance(error, hiredis.ReplyError) and isinstance(self._waiter, Replies):
            self._gate.hold(self._waiter, error)  # keeps its place among the replies
        elif not self._waiter.done():
            self._waiter.set_exception(error)


class ReplicatedConnection(RedisConnection):
    """A RedisConnection that ends each flush with WAIT.

    Args:
        min_replicas: replicas that must acknowledge a flush. With fewer, all its commands fail as
            ``OutcomeUnknown``, reads too.
        wait_ms: how long Redis waits for them; must be below the connection's time-out.
    """

    def __init__(self, *, min_replicas: int, wait_ms: int, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._min_replicas = min_replicas
        self._wait = pack("WAIT", str(min_replicas), str(wait_ms))

    def _before_write(self, commands: list[bytes]) -> None:
        gate = _Gate(self._min_replicas)
        waiters = [self._waiting.pop() for _ in commands]
        self._waiting.extend(_Held(waiter, gate) for waiter in reversed(waiters))
        self._waiting.append(gate)
        self._since.append(self._loop.time())
        commands.append(self._wait)
