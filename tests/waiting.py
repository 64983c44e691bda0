"""Waiting for facts. Nothing in the tests sleeps for a fixed time and hopes."""

import inspect
import time
from asyncio import sleep
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

T = TypeVar("T")

_EVERY_S = 0.02

_LOOKS = 8
"""At least so many, however long the machine stood still between two of them."""


@overload
async def until(
    fact: Callable[[], Awaitable[T]],
    *,
    within_s: float,
    forgiving: tuple[type[Exception], ...] = (),
    log: Callable[[], str] | None = None,
) -> T: ...
@overload
async def until(
    fact: Callable[[], T],
    *,
    within_s: float,
    forgiving: tuple[type[Exception], ...] = (),
    log: Callable[[], str] | None = None,
) -> T: ...
async def until(
    fact: Callable[[], T | Awaitable[T]],
    *,
    within_s: float,
    forgiving: tuple[type[Exception], ...] = (),
    log: Callable[[], str] | None = None,
) -> T:
    """The first truthy answer of `fact`, a plain or an async function.

    `forgiving` names the exceptions that mean "not yet". Past the deadline the assertion shows
    what was last seen, and the log when there is one. One look takes no more than its share of the
    time: a machine that stands still for seconds has not shown that the fact does not come.
    """
    left_s = within_s
    while True:
        began = time.monotonic()
        seen: object
        try:
            answer = fact()
            seen = value = cast("T", await answer) if inspect.isawaitable(answer) else answer
            if value:
                return value
        except forgiving as error:
            seen = error
        if left_s < 0:
            shown = f"\n--- log ---\n{log()}" if log else ""
            raise AssertionError(f"not within {within_s} s; last seen: {seen!r}{shown}")
        await sleep(_EVERY_S)
        left_s -= min(time.monotonic() - began, within_s / _LOOKS)
