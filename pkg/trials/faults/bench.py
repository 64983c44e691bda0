"""Runs a row: a fresh system, warm-up, fault, recovery, drain, audit, judgement."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from nats.errors import Error as NatsError
from redis.exceptions import RedisError

from pkg.devkit.errors import BidkitError
from pkg.trials.faults.archive import POSTGRES_ERRORS
from pkg.trials.faults.bidders import ITEMS, Bidders
from pkg.trials.faults.findings import AuditUnableError
from pkg.trials.faults.pace import FULL, SHORT, Pace
from pkg.trials.faults.row import Result, Row
from pkg.trials.faults.scene import Scene
from pkg.trials.faults.verdict import judge
from pkg.trials.faults.viewers import VIEWERS
from pkg.trials.waiting import NotInTimeError, until

LEAST_RATE_PER_S = 200
"""Accepted bids per second that the warm-up must reach for the row to prove something."""

WARM_UPS = 5
"""Attempts, because the machine may be busy with something else."""

HURRY_EVERY_S = 5
"""A worker that reconnects late resets the consumer's ack wait."""


_UNABLE = (
    NotInTimeError,
    AuditUnableError,
    OSError,
    BidkitError,
    RedisError,
    NatsError,
    *POSTGRES_ERRORS,
)
"""Errors that stop the row. What it found until then is in the result."""


class Stage(Protocol):
    """Makes a system on empty stores for each row."""

    def scene(
        self, row: Row, *, short: bool, logs: Path | None
    ) -> AbstractAsyncContextManager[Scene]:
        """A system that is ready while the block runs."""


async def run(row: Row, stage: Stage, *, short: bool, logs: Path | None = None) -> Result:
    """Runs the row within a bounded time and stops what it started.

    `logs`: keep the services' logs there, in a folder with the row's name.
    """
    result = Result(row=row.name)
    began = time.monotonic()
    pace = SHORT if short else FULL
    try:
        async with asyncio.timeout(pace.row_within_s):
            async with stage.scene(row, short=short, logs=logs) as scene:
                try:
                    await _play(row, scene, pace, result)
                finally:
                    _count(scene, result)
    except _UNABLE as error:  # TimeoutError of the whole row is an OSError
        result.problems.append(str(error) or f"{type(error).__name__} of the bench itself")
        result.problems += getattr(error, "__notes__", [])
    result.took_s = time.monotonic() - began
    return result


async def _play(row: Row, scene: Scene, pace: Pace, result: Result) -> None:
    bidders = Bidders(scene.services.api_port, scene.ledger)
    watching = asyncio.create_task(scene.viewers.run())
    bidding: asyncio.Task[None] | None = None
    try:
        await until(
            lambda: scene.viewers.open == VIEWERS, within_s=20, what="every viewer is connected"
        )
        bidding = asyncio.create_task(bidders.run())
        await _warm_up(scene, pace, result)
        await row.fault(scene)
        ended_at = scene.ended_at or time.monotonic()
        await _recover(scene, ended_at, pace, result)
        await asyncio.sleep(pace.after_s)
        bidders.stop()
        await bidding
        await _drain(scene, pace, result)
        await _settle(scene, pace, result)
        result.problems += scene.problems
        result.problems += [f"{one} ended by itself" for one in scene.services.dead]
        if watching.done():
            watching.result()  # a frame that cannot be read, most likely
        await judge(row, scene, result)
    finally:
        bidders.stop()
        for task in (watching, bidding):
            if task is not None:
                task.cancel()
        await asyncio.gather(
            *(task for task in (watching, bidding) if task is not None), return_exceptions=True
        )


async def _warm_up(scene: Scene, pace: Pace, result: Result) -> None:
    await until(lambda: scene.ledger.accepted, within_s=20, what="a first bid is accepted")
    rate = 0.0
    for _ in range(WARM_UPS):
        began = time.monotonic()
        await asyncio.sleep(pace.warm_up_s)
        rate = scene.ledger.accepted_since(began) / (time.monotonic() - began)
        if rate >= LEAST_RATE_PER_S:
            return
    result.problems.append(f"only {rate:.0f} bids/s were accepted before the fault")


async def _recover(scene: Scene, ended_at: float, pace: Pace, result: Result) -> None:
    await until(
        lambda: scene.ledger.first_accepted_after(ended_at),
        within_s=pace.recover_within_s,
        what="a bid is accepted after the fault",
    )
    first = scene.ledger.first_accepted_after(ended_at)
    result.recover_s = (first or ended_at) - ended_at


async def _drain(scene: Scene, pace: Pace, result: Result) -> None:
    began = hurried_at = time.monotonic()
    if pace.redelivered_within_s:
        await scene.redeliver_within(pace.redelivered_within_s)

    async def drained() -> bool:
        nonlocal hurried_at
        if pace.redelivered_within_s and time.monotonic() - hurried_at > HURRY_EVERY_S:
            await scene.redeliver_within(pace.redelivered_within_s)
            hurried_at = time.monotonic()
        return await scene.outbox_entries() == 0

    try:
        await until(drained, within_s=pace.drain_within_s, what="the outboxes drain")
        result.drain_s = time.monotonic() - began
    except NotInTimeError as error:
        left = await scene.outbox_entries()
        result.problems.append(f"{error} ({left} entries left)")


async def _settle(scene: Scene, pace: Pace, result: Result) -> None:
    """A viewer who is not shown the last state has a gap that nothing repaired."""
    behind = 0

    async def all_shown() -> bool:
        nonlocal behind
        behind = scene.viewers.behind(await scene.standing(ITEMS))
        return behind == 0

    try:
        await until(all_shown, within_s=pace.settle_within_s, what="viewers see the last state")
    except NotInTimeError as error:
        result.unrepaired += behind
        result.problems.append(f"{error} ({behind} of {VIEWERS} do not)")


def _count(scene: Scene, result: Result) -> None:
    ledger, seen = scene.ledger, scene.viewers.seen()
    result.notes = scene.notes
    result.requests = ledger.requests
    result.failed = ledger.failed.total()
    result.codes = dict(ledger.failed)
    result.unknown = len(ledger.unknown)
    result.accepted = len(ledger.accepted)
    result.repaired = seen.repaired
    result.unrepaired += seen.unrepaired
