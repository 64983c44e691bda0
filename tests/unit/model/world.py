"""What the model's stores and processes share: the clock, the random generator, and their calls.

A call to a store waits here until the scheduler decides when and how it ends. So calls can
interleave and processes can crash between any two calls, and a seed reproduces the run.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.unit.model.virtual_time import VirtualLoop

EPOCH_MS = 1_700_000_000_000
QUICK = 0.95


class Place(StrEnum):
    REDIS = "redis"
    NATS = "nats"
    POSTGRES = "postgres"


class Violation(AssertionError):  # noqa: N818 - a broken promise, not an error of the program
    """The system broke a promise at this step."""


def _always() -> bool:
    return True


@dataclass(eq=False, kw_only=True)
class Call:
    """A request to a store, which runs ``effect`` when it arrives."""

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
    """What the store does if the caller disappears before the call arrives."""

    def __str__(self) -> str:
        return f"{self.caller}: {self.name}"


@dataclass(eq=False)
class Notice:
    """A message without a reply: it may be lost, delayed or reordered."""

    what: str
    deliver: Callable[[], None]


@dataclass
class World:
    loop: VirtualLoop
    chance: random.Random
    calls: list[Call] = field(default_factory=list)
    late: list[Call] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
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
        quick: bool = False,
        **more: Any,  # noqa: ANN401 - passed on to Call, which names them
    ) -> Any:  # noqa: ANN401 - the store's answer
        """``quick``: most of these end at once. There are many, and few do anything."""
        if quick and place not in self.away and self.chance.random() < QUICK:
            return effect()
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

    def send(self, what: str, deliver: Callable[[], None]) -> None:
        self.notices.append(Notice(what, deliver))

    def note(self, line: str) -> None:
        self.trace.append(f"{self.loop.time():.3f} {line}")
