"""Background tasks with an owner. If one ends, the process becomes unready and stops."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from pkg.runtime import logs
from pkg.runtime.backoff import Backoff

FIRST_RESTART_S = 0.5
RESTART_CAP_S = 30.0
STEADY_S = 60.0
"""Work that ran for as long before it failed is restarted as if it had never failed."""

CANCEL_AGAIN_S = 1.0
CANCEL_COMMAND_AGAIN_S = 10.0
"""For a command, which at its end closes its connections to all stores, each in up to 2 s."""

log = logs.get("background")


async def ended(task: asyncio.Task[Any], *, again_s: float = CANCEL_AGAIN_S) -> None:
    """Cancels the task until it has ended, and ignores its result.

    One cancellation may not be enough: asyncio's wait_for before Python 3.12, and so nats-py, loses
    a cancellation that coincides with the awaited result or the time-out. ``again_s`` must exceed
    the time that the task takes to clean up: the next cancellation interrupts that.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=again_s)


async def restarting(
    work: Callable[[], Awaitable[None]],
    *,
    name: str,
    failed: Callable[[int], Awaitable[None]],
    first_s: float = FIRST_RESTART_S,
) -> None:
    """Runs work again, after a back-off, whenever an exception that nobody foresaw ends it.

    For work that must not end its process and starts anew from what is stored. ``failed`` is called
    before each restart with the number of failures in a row.
    """
    backoff = Backoff(first_s, RESTART_CAP_S, jitter=True)
    in_a_row = 0
    now = asyncio.get_running_loop().time
    while True:
        began = now()
        try:
            await work()
        except Exception:
            if now() - began > STEADY_S:
                backoff.reset()
                in_a_row = 0
            in_a_row += 1
            delay_s = backoff.next_s()
            log.exception("background work failed; restarting it", task=name, after_s=delay_s)
        else:
            return  # its owner notices
        await failed(in_a_row)
        await asyncio.sleep(delay_s)


class Background:
    """Tasks that run as long as the process. Leaving the context cancels and awaits them.

    A task that ends by itself is a defect: the process drains and exits with code 1, and the
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
        """Reports the failures of another owner's tasks as its own."""
        self._parts.append(part)

    @property
    def died(self) -> str | None:
        """Name of a task that ended by itself, if any did."""
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
        # Later tasks depend on earlier ones, so they end first.
        for task in reversed(self._tasks):
            await ended(task)
            if not task.cancelled() and (failure := task.exception()) and not self.died:
                log.error(
                    "background work failed at its end", task=task.get_name(), exc_info=failure
                )
