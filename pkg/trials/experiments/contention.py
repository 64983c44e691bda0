"""Write contention: many users on one item, by strategy, each run followed by the audit."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pkg.devkit.names import API, REDIS
from pkg.trials.crowd.bidders import STRATEGIES
from pkg.trials.experiments.clients.children import Child
from pkg.trials.experiments.clients.contending import ANSWER_WITHIN_S, HEAD, Tally, Task
from pkg.trials.experiments.countdown import Countdown
from pkg.trials.experiments.machine import CLIENT_BUSY, Needs, client_processes
from pkg.trials.experiments.recording import Recording
from pkg.trials.experiments.system import System
from pkg.trials.run_json import Experiment

NAME: Experiment = "contention"
REPLICAS = {API: 2}
"""In one gateway, optimistic rounds on an item take turns: only another gateway's can overtake."""
SAMPLES = "samples.csv.gz"
_OVERHEAD_S = 6.0
"""Of a run: starting clients, draining, the audit."""
_SETTLES_WITHIN_S = 60.0


@dataclass(frozen=True)
class Settings:
    users: tuple[int, ...]
    strategies: tuple[str, ...]
    repetitions: int
    seconds: float
    clients: int
    """Client processes."""

    @property
    def needs(self) -> Needs:
        return Needs(connections=max(self.users))

    @property
    def count(self) -> int:
        return len(self.users) * len(self.strategies) * self.repetitions

    @property
    def expected_s(self) -> float:
        return self.count * (self.seconds + _OVERHEAD_S)


FULL = Settings(
    users=(100, 500, 1000, 2000, 10_000),
    strategies=STRATEGIES,
    repetitions=3,
    seconds=15.0,
    clients=client_processes(),
)
QUICK = Settings(
    users=(10, 100, 500),
    strategies=STRATEGIES,
    repetitions=2,
    seconds=3.0,
    clients=client_processes(),
)


@dataclass(frozen=True)
class Run:
    number: int
    repetition: int
    strategy: str
    users: int


def runs(settings: Settings) -> Iterator[Run]:
    """Interleaved: a change in the machine's speed meets all strategies and numbers of users.

    Every repetition has an order of its own, the same in each experiment.
    """
    numbers = itertools.count(1)
    order = random.Random(1)  # noqa: S311 - an order, no secret
    for repetition in range(1, settings.repetitions + 1):
        pairs = list(itertools.product(settings.users, settings.strategies))
        order.shuffle(pairs)
        for users, strategy in pairs:
            yield Run(next(numbers), repetition, strategy, users)


async def measure(system: System, settings: Settings, recording: Recording) -> None:
    countdown = Countdown(NAME, [settings.seconds + _OVERHEAD_S] * settings.count)
    for run in runs(settings):
        countdown.begins(f"{run.strategy}, {run.users} users, round {run.repetition}")
        countdown.ended(await _measure(system, settings, recording, run))


@dataclass(frozen=True)
class _Server:
    """The system's own counts and CPU times so far."""

    requests: float
    retries: float
    api_cpu_s: float
    redis_cpu_s: float

    @classmethod
    async def of(cls, system: System) -> "_Server":
        return cls(
            requests=await system.metric(API, "bid_requests_total"),
            retries=await system.metric(API, "bid_optimistic_retries_total"),
            api_cpu_s=await system.cpu_s(API),
            redis_cpu_s=await system.cpu_s(REDIS),
        )


async def _measure(system: System, settings: Settings, recording: Recording, run: Run) -> str:
    """Adds the run to the recording; returns a line for the terminal."""
    before = await _Server.of(system)
    tally, busiest = await _bid(system, settings, recording, run)
    await system.drained()
    after = await _Server.of(system)
    audit = await system.audit()
    requests = round(after.requests - before.requests)
    recording.ended(
        {
            "run": run.number,
            "repetition": run.repetition,
            "strategy": run.strategy,
            "users": run.users,
            "seconds": round(tally.ended_at_s, 3),
            "requests": tally.requests,
            "reads": tally.reads,
            "bids": tally.bids,
            "accepted": tally.accepted,
            "refused": tally.refused,
            "failed": tally.failed,
            "unknown": tally.unknown,
            "retries": round(after.retries - before.retries),
            "server_requests": requests,
            "api_cpu_s": round(after.api_cpu_s - before.api_cpu_s, 3),
            "redis_cpu_s": round(after.redis_cpu_s - before.redis_cpu_s, 3),
            "audit": audit,
        }
    )
    _doubt(recording, run, tally, requests, busiest)
    rate = tally.requests / max(tally.ended_at_s, 1e-9)
    accepted = tally.accepted / max(tally.ended_at_s, 1e-9)
    return (
        f"{rate:,.0f} requests/s, {accepted:,.0f} accepted bids/s, "
        f"{tally.failed + tally.reads_failed + tally.unknown} failed or unknown, audit {audit}"
    )


def _doubt(
    recording: Recording, run: Run, tally: Tally, server_requests: int, busiest: float
) -> None:
    """Notes what makes this run's figures doubtful."""
    unheard = tally.unknown + tally.reads_failed  # they may not have reached a gateway
    if not tally.requests - unheard <= server_requests <= tally.requests:
        recording.note(
            f"run {run.number}: clients count {tally.requests} requests, the gateways "
            f"{server_requests}"
        )
    if busiest > CLIENT_BUSY:
        recording.note(
            f"run {run.number}: a client process used {busiest:.0%} of a core, so the client may "
            "have limited the rate"
        )
    if tally.defects:
        recording.note(f"run {run.number}: answers outside the contract: {tally.defects[0]}")


async def _bid(
    system: System, settings: Settings, recording: Recording, run: Run
) -> tuple[Tally, float]:
    """The counts of all clients, and the share of a core that the busiest used."""
    item = f"contended-{run.number}"
    clients = min(settings.clients, run.users)
    shares = [len(range(number, run.users, clients)) for number in range(clients)]
    async with contextlib.AsyncExitStack() as stack:
        parts: list[Path] = []
        children: list[Child] = []
        for number, users in enumerate(shares):
            parts.append(recording.folder / f".part-{number}")
            task = Task(
                host="127.0.0.1",
                port=system.api_port,
                item=item,
                strategy=run.strategy,
                users=users,
                seconds=settings.seconds,
                run=run.number,
                name=f"user-{number}",
                samples=str(parts[-1]),
            )
            children.append(await stack.enter_async_context(Child("contending", task)))
            stack.callback(parts[-1].unlink, missing_ok=True)
        await asyncio.gather(*(child.line(within_s=_SETTLES_WITHIN_S) for child in children))
        await asyncio.gather(*(child.tell("go") for child in children))
        within_s = settings.seconds + ANSWER_WITHIN_S + _SETTLES_WITHIN_S
        tallies = await asyncio.gather(
            *(child.hear(Tally, within_s=within_s) for child in children)
        )
        for part in parts:
            await asyncio.to_thread(recording.append, SAMPLES, HEAD, part)
    return total(tallies), max(one.cpu_s / max(one.ended_at_s, 1e-9) for one in tallies)


def total(tallies: "list[Tally] | tuple[Tally, ...]") -> Tally:
    """The sums; the last answer is that of the slowest."""
    counts = ("requests", "reads", "accepted", "refused", "failed", "unknown", "reads_failed")
    return Tally(
        **{name: sum(getattr(one, name) for one in tallies) for name in counts},
        cpu_s=sum(one.cpu_s for one in tallies),
        ended_at_s=max(one.ended_at_s for one in tallies),
        defects=[defect for one in tallies for defect in one.defects],
    )
