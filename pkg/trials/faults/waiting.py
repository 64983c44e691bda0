"""Waiting for facts, within a bound."""

import inspect
import time
from asyncio import sleep
from collections.abc import Callable

_EVERY_S = 0.05


class NotInTimeError(Exception):
    """A fact did not come true in the time it had. What was started is still running."""


async def until(
    fact: Callable[[], object], *, within_s: float, what: str, every_s: float = _EVERY_S
) -> None:
    """Returns when `fact`, a plain or an async function, gives something true.

    Raises:
        NotInTimeError: with `what`, which names the fact.
    """
    deadline = time.monotonic() + within_s
    while True:
        answer = fact()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if time.monotonic() > deadline:
            raise NotInTimeError(f"{what}: not within {within_s:g} s")
        await sleep(every_s)
