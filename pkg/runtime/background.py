"""Background work with an owner: when a part dies, readiness turns red and the process stops."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from pkg.runtime import logs

CANCEL_AGAIN_S = 1.0
CANCEL_COMMAND_AGAIN_S = 10.0
"""Of a command, which closes its connections to all stores at its end; each takes 2 s at most."""

log = logs.get("background")


async def ended(task: asyncio.Task[Any], *, again_s: float = CANCEL_AGAIN_S) -> None:
    """Cancels until the task has ended; what it ended with is not looked at.

    More than once: asyncio's wait_for (before Python 3.12) and so nats-py swallow a cancellation
    that meets the answer waited for, or the time-out. A task that does something at its end, as
    closing connections, needs an ``again_s`` longer than that takes: it is broken off.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=again_s)


class Background:
    """Tasks that run as long as the process. Leaving the context cancels and awaits them.

    A task that ends by itself is a defect: the process drains and exits with code 1, and its
    orchestrator starts a new one.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self.stop = stop
        self._tasks: list[asyncio.Task[Any]] = []
        self._parts: list[Background] = []
        self._closing = False
        self._died: str | None = None

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._ended)

    def adopt(self, part: "Background") -> None:
        """Tells of another owner's deaths as of its own."""
        self._parts.append(part)

    @property
    def died(self) -> str | None:
        """Name of the work that ended by itself, if any did."""
        return self._died or next((part.died for part in self._parts if part.died), None)

    def probe(self) -> str | None:
        """For ``Readiness.watch``."""
        return "failed" if self.died else None

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if self._closing:
            return
        self._died = task.get_name()
        error = None if task.cancelled() else task.exception()
        log.error("background work ended", task=self._died, exc_info=error)
        self.stop.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._closing = True
        # The last started stand on the first: they end before them.
        for task in reversed(self._tasks):
            await ended(task)
            if not task.cancelled() and (failure := task.exception()) and not self.died:
                log.error(
                    "background work failed at its end", task=task.get_name(), exc_info=failure
                )
