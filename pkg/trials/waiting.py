"""Waits for a condition, with a time-out."""

import inspect
import time
from asyncio import sleep
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

T = TypeVar("T")

_EVERY_S = 0.02

_LOOKS = 8
"""Fewest checks before giving up, however long the machine stalled between two of them."""


class NotInTimeError(Exception):
    """A condition did not come true in time. Nothing was stopped."""


@overload
async def until(
    fact: Callable[[], Awaitable[T]],
    *,
    within_s: float,
    what: str = "",
    every_s: float = _EVERY_S,
    forgiving: tuple[type[Exception], ...] = (),
    log: Callable[[], str] | None = None,
    wall_clock: bool = False,
) -> T: ...
@overload
async def until(
    fact: Callable[[], T],
    *,
    within_s: float,
    what: str = "",
    every_s: float = _EVERY_S,
    forgiving: tuple[type[Exception], ...] = (),
    log: Callable[[], str] | None = None,
    wall_clock: bool = False,
) -> T: ...
async def until(
    fact: Callable[[], T | Awaitable[T]],
    *,
    within_s: float,
    what: str = "",
    every_s: float = _EVERY_S,
    forgiving: tuple[type[Exception], ...] = (),
    log: Callable[[], str] | None = None,
    wall_clock: bool = False,
) -> T:
    """Returns the first truthy result of `fact`, a plain or an async function.

    `forgiving` names the exceptions that mean "not yet". A check that takes long, because the
    machine stalled, counts as at most an eighth of the time, unless `wall_clock`: for bounds that
    are measured.

    Raises:
        NotInTimeError: names the fact (`what`), what was last seen, and `log` if there is one.
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
        if left_s <= 0:
            shown = f"\n--- log ---\n{log()}" if log else ""
            named = f"{what}: " if what else ""
            raise NotInTimeError(f"{named}not within {within_s:g} s; last seen: {seen!r}{shown}")
        await sleep(every_s)
        took_s = time.monotonic() - began
        left_s -= took_s if wall_clock else min(took_s, within_s / _LOOKS)
