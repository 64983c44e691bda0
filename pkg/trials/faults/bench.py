"""Runs a row: a fresh system, warm-up, fault, recovery, drain, audit, verdict."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from nats.errors import Error as NatsError
from redis.exceptions import RedisError

from pkg.devkit.errors import BidkitError
from pkg.trials.crowd.archive import POSTGRES_ERRORS
from pkg.trials.crowd.bidders import ITEMS, Bidders
from pkg.trials.crowd.pace import FULL, SHORT, Pace
from pkg.trials.crowd.viewers import VIEWERS
from pkg.trials.faults.row import Result, Row
from pkg.trials.faults.trial import Trial
from pkg.trials.faults.verdict import judge
from pkg.trials.findings import AuditUnableError
from pkg.trials.waiting import NotInTimeError, until

LEAST_RATE_PER_S = 200
"""Accepted bids per second that the warm-up must reach, or the row fails."""

WARM_UPS = 5
"""Attempts, because the machine may be busy."""


_ERRORS = (
    NotInTimeError,
    AuditUnableError,
    OSError,
    BidkitError,
    RedisError,
    NatsError,
    *POSTGRES_ERRORS,
)
"""Errors that stop the row. The result keeps what was found until then."""


class Backend(Protocol):
    """Makes a system with empty stores for each row."""

    def trial(
        self, row: Row, *, short: bool, logs: Path | None
    ) -> AbstractAsyncContextManager[Trial]:
        """Runs a ready system while the block runs."""


async def run(row: Row, backend: Backend, *, short: bool, logs: Path | None = None) -> Result:
    """Runs the row within a bounded time and stops what it started.

    `logs`: keep the services' logs there, in a folder with the row's name.
    """
    result = Result(row=row.name)
    began = time.monotonic()
    pace = SHORT if short else FULL
    try:
        async with asyncio.timeout(pace.row_within_s):
            async with backend.trial(row, short=short, logs=logs) as trial:
                try:
                    await _run_phases(row, trial, pace, result)
                finally:
                    _count(trial, result)
    except _ERRORS as error:  # TimeoutError of the whole row is an OSError
        result.problems.append(str(error) or f"{type(error).__name__} in the bench")
        result.problems += getattr(error, "__notes__", [])
    result.took_s = time.monotonic() - began
    return result


async def _run_phases(row: Row, trial: Trial, pace: Pace, result: Result) -> None:
    bidders = Bidders(trial.services.api_port, trial.ledger, amounts=trial.amounts)
    watching = asyncio.create_task(trial.viewers.run())
    bidding: asyncio.Task[None] | None = None
    try:
        await until(
            lambda: trial.viewers.open == VIEWERS, within_s=20, what="every viewer is connected"
        )
        bidding = asyncio.create_task(bidders.run())
        await _warm_up(trial, pace, result)
        await row.fault(trial)
        if trial.ended_at is None:
            trial.fault_ends()
        await _recover(trial, pace, result)
        await asyncio.sleep(pace.after_s)
        bidders.stop()
        await bidding
        await _drain(trial, pace, result)
        await _settle(trial, pace, result)
        result.problems += [f"{one} ended by itself" for one in trial.services.dead]
        if watching.done():
            watching.result()  # raises what ended it, most likely an unreadable frame
        await judge(row, trial, result)
    finally:
        bidders.stop()
        for task in (watching, bidding):
            if task is not None:
                task.cancel()
        await asyncio.gather(
            *(task for task in (watching, bidding) if task is not None), return_exceptions=True
        )


async def _warm_up(trial: Trial, pace: Pace, result: Result) -> None:
    await until(lambda: trial.ledger.accepted, within_s=20, what="a first bid is accepted")
    rate = 0.0
    for _ in range(WARM_UPS):
        began = time.monotonic()
        await asyncio.sleep(pace.warm_up_s)
        rate = trial.ledger.accepted_since(began) / (time.monotonic() - began)
        if rate >= LEAST_RATE_PER_S:
            return
    result.problems.append(f"only {rate:.0f} bids/s were accepted before the fault")


async def _recover(trial: Trial, pace: Pace, result: Result) -> None:
    ended_at = trial.ended_at or 0.0
    await until(
        lambda: trial.ledger.first_accepted_after(ended_at),
        within_s=pace.recover_within_s,
        what="a bid is accepted after the fault",
        wall_clock=True,
    )
    first = trial.ledger.first_accepted_after(ended_at)
    result.recover_s = (first or ended_at) - ended_at


async def _drain(trial: Trial, pace: Pace, result: Result) -> None:
    began = time.monotonic()

    async def drained() -> bool:
        return await trial.outbox_entries() == 0

    try:
        await until(
            drained, within_s=pace.drain_within_s, what="the outboxes drain", wall_clock=True
        )
        result.drain_s = time.monotonic() - began
    except NotInTimeError as error:
        left = await trial.outbox_entries()
        result.problems.append(f"{error} ({left} entries left)")


async def _settle(trial: Trial, pace: Pace, result: Result) -> None:
    """Counts each viewer that does not get the last state as an unrepaired gap."""
    behind = 0

    async def all_shown() -> bool:
        nonlocal behind
        behind = trial.viewers.behind(await trial.current_seqs(ITEMS))
        return behind == 0

    try:
        await until(
            all_shown,
            within_s=pace.settle_within_s,
            what="viewers see the last state",
            wall_clock=True,
        )
    except NotInTimeError as error:
        result.unrepaired += behind
        result.problems.append(f"{error} ({behind} of {VIEWERS} do not)")


def _count(trial: Trial, result: Result) -> None:
    ledger, seen = trial.ledger, trial.viewers.seen()
    result.problems += trial.problems
    result.notes = trial.notes
    result.requests = ledger.requests
    result.failed = ledger.failed.total()
    result.codes = dict(ledger.failed)
    result.unknown = len(ledger.unknown)
    result.accepted = len(ledger.accepted)
    result.repaired = seen.repaired
    result.unrepaired += seen.unrepaired
