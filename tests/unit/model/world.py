"""What all stores and processes of the model share: clock, chance, and the calls between them.

A process' call to a store waits here until the scheduler decides when, in which order and how it
ends. So every interleaving and every crash between two calls can happen, and a seed repeats it.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.unit.model.virtual_time import VirtualLoop

EPOCH_MS = 1_700_000_000_000


class Place(StrEnum):
    REDIS = "redis"
    NATS = "nats"
    POSTGRES = "postgres"


class Violation(AssertionError):  # noqa: N818 - a broken promise, not an error of the program
    """What the system promises does not hold at this step."""


def _always() -> bool:
    return True


@dataclass(eq=False, kw_only=True)
class Call:
    """A request on its way. ``effect`` is what the store does when it arrives."""

    caller: str
    place: Place
    name: str
    effect: Callable[[], Any]
    failure: Callable[[], Exception]
    answer: "asyncio.Future[Any]"
    ready: Callable[[], bool] = _always
    may_be_late: bool = False
    may_be_done_unknown: bool = True
    abandon: Callable[[], None] = lambda: None
    """What the store does on its own when the caller goes away before the call arrived."""

    def __str__(self) -> str:
        return f"{self.caller}: {self.name}"


@dataclass(eq=False)
class Word:
    """A message nobody waits for: it may be lost, delayed or reordered."""

    what: str
    deliver: Callable[[], None]


@dataclass
class World:
    loop: VirtualLoop
    chance: random.Random
    calls: list[Call] = field(default_factory=list)
    late: list[Call] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    away: set[Place] = field(default_factory=set)
    on_nats_connect: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)

    @property
    def now_ms(self) -> int:
        return EPOCH_MS + int(self.loop.time() * 1000)

    async def call(
        self,
        caller: str,
        place: Place,
        name: str,
        effect: Callable[[], Any],
        *,
        failure: Callable[[], Exception],
        **more: Any,  # noqa: ANN401 - passed on to Call, which names them
    ) -> Any:  # noqa: ANN401 - whatever the store answers
        call = Call(
            caller=caller,
            place=place,
            name=name,
            effect=effect,
            failure=failure,
            answer=self.loop.create_future(),
            **more,
        )
        self.calls.append(call)
        try:
            return await call.answer
        finally:
            if call in self.calls:
                self.calls.remove(call)

    def say(self, what: str, deliver: Callable[[], None]) -> None:
        self.words.append(Word(what, deliver))

    def note(self, line: str) -> None:
        self.trace.append(f"{self.loop.time():.3f} {line}")
