"""WebSocket fan-out: when each of many viewers sees a bid, and whether each sees every bid."""

import asyncio
import contextlib
import itertools
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pkg.devkit.names import API, BROADCAST
from pkg.trials.experiments.clients import steady
from pkg.trials.experiments.clients.children import Child
from pkg.trials.experiments.clients.watching import (
    AT_ONCE,
    GREETED_WITHIN_S,
    HEAD,
    SEEN_WITHIN_S,
    Connected,
    Seen,
    Task,
)
from pkg.trials.experiments.countdown import Countdown
from pkg.trials.experiments.machine import CLIENT_BUSY, Needs, client_processes
from pkg.trials.experiments.recording import Recording
from pkg.trials.experiments.system import System
from pkg.trials.run_json import Experiment

NAME: Experiment = "fan-out"
REPLICAS = {API: 1, BROADCAST: 1}
SERVICES = {"VIEWER_SOCKET_BYTES": "4096", "VIEWER_BUFFER_BYTES": "4096"}
"""With the default buffers, the kernel holds all that a slow viewer misses in such a short time."""
DELIVERIES = "deliveries.csv.gz"
EVENTS = "events.csv.gz"
_OVERHEAD_S = 8.0
"""Of a run, without its connections: new broadcasters, clients' start, the audit."""
_CONNECTS_PER_S = 1500.0


@dataclass(frozen=True)
class Settings:
    viewers: tuple[int, ...]
    slow_shares: tuple[float, ...]
    broadcasters: tuple[int, ...]
    repetitions: int
    seconds: float
    rate_per_s: float
    """Bids, at most."""
    deliveries_per_s: float
    """At most, over all viewers: many viewers get fewer bids a second, for longer."""
    least_bids: int = 100
    """Of a run. Fewer find room in the kernel's buffers of a slow viewer."""
    clients: int = field(default_factory=client_processes)

    @property
    def needs(self) -> Needs:
        return Needs(connections=max(self.viewers))

    def rate_for(self, viewers: int) -> float:
        return min(self.rate_per_s, self.deliveries_per_s / viewers)

    def seconds_for(self, viewers: int) -> float:
        return max(self.seconds, self.least_bids / self.rate_for(viewers))

    def expected_s(self, viewers: int) -> float:
        return _OVERHEAD_S + self.seconds_for(viewers) + viewers / _CONNECTS_PER_S


FULL = Settings(
    viewers=(100, 1000, 3500, 10_000),
    slow_shares=(0.0, 0.05),
    broadcasters=(1, 2),
    repetitions=3,
    seconds=12.0,
    rate_per_s=20.0,
    deliveries_per_s=30_000.0,
)
QUICK = Settings(
    viewers=(100, 1000),
    slow_shares=(0.0, 0.05),
    broadcasters=(1, 2),
    repetitions=1,
    seconds=4.0,
    rate_per_s=25.0,
    deliveries_per_s=20_000.0,
)


@dataclass(frozen=True)
class Run:
    number: int
    repetition: int
    viewers: int
    slow_share: float
    broadcasters: int


def runs(settings: Settings) -> Iterator[Run]:
    """Every repetition has an order of its own, the same in each experiment."""
    numbers = itertools.count(1)
    order = random.Random(1)  # noqa: S311 - an order, no secret
    for repetition in range(1, settings.repetitions + 1):
        kinds = list(
            itertools.product(settings.viewers, settings.slow_shares, settings.broadcasters)
        )
        order.shuffle(kinds)
        for viewers, slow_share, broadcasters in kinds:
            yield Run(next(numbers), repetition, viewers, slow_share, broadcasters)


async def measure(system: System, settings: Settings, recording: Recording) -> None:
    recording.note(
        "latency is a viewer's clock less the event's timestamp, which is Redis' clock; both are "
        "this machine's, so the offset is none"
    )
    all_runs = list(runs(settings))
    countdown = Countdown(NAME, [settings.expected_s(run.viewers) for run in all_runs])
    for run in all_runs:
        countdown.begins(
            f"{run.viewers} viewers, {run.slow_share:.0%} slow, {run.broadcasters} broadcasters"
        )
        countdown.ended(await _measure(system, settings, recording, run))


@dataclass(frozen=True)
class _Watched:
    connect_us: Sequence[int]
    fast: int
    rss_bytes: int
    """Of the broadcasters, when all viewers were connected."""
    cpu_s: float
    raised: steady.Raised
    seen: Seen
    behind: int
    """Viewers who were behind when the last bid was placed, and those closed for it."""
    busiest: float
    """Share of a core that the busiest client used."""


async def _measure(system: System, settings: Settings, recording: Recording, run: Run) -> str:
    await system.renew(BROADCAST, run.broadcasters)
    rss_before = await system.rss_bytes(BROADCAST)
    watched = await _watch(system, settings, recording, run)
    await system.drained()
    audit = await system.audit()
    seen, raised, connected = watched.seen, watched.raised, len(watched.connect_us)
    expected = watched.fast * raised.accepted
    events = [(run.number, seq, us) for seq, us in sorted(seen.last_us.items())]
    recording.samples(EVENTS, ("run", "seq", "last_viewer_latency_us"), events)
    p50, p99 = percentiles(watched.connect_us)
    recording.ended(
        {
            "run": run.number,
            "repetition": run.repetition,
            "viewers": run.viewers,
            "slow_share": run.slow_share,
            "broadcasters": run.broadcasters,
            "bids": raised.accepted,
            "rate_per_s": round(settings.rate_for(run.viewers), 3),
            "connected": connected,
            "expected": expected,
            "delivered": seen.delivered,
            "gaps": seen.gaps,
            "connect_p50_us": p50,
            "connect_p99_us": p99,
            "broadcaster_rss_before_bytes": rss_before,
            "broadcaster_rss_bytes": watched.rss_bytes,
            "memory_per_connection_bytes": round(
                (watched.rss_bytes - rss_before) / max(connected, 1)
            ),
            "broadcaster_cpu_s": round(watched.cpu_s, 3),
            "clock_offset_us": 0,
            "clock_error_us": 0,
            "audit": audit,
        }
    )
    _doubt(recording, run, watched)
    last = statistics.median(seen.last_us.values()) / 1000 if seen.last_us else float("nan")
    return (
        f"{seen.delivered:,} of {expected:,} delivered, last viewer {last:,.1f} ms (median), "
        f"{seen.gaps} gaps, audit {audit}"
    )


def _doubt(recording: Recording, run: Run, watched: _Watched) -> None:
    """Notes what makes this run's figures doubtful."""
    seen, slow = watched.seen, len(watched.connect_us) - watched.fast
    notes = (
        (
            watched.busiest > CLIENT_BUSY,
            f"a client process used {watched.busiest:.0%} of a core, which may add to latency",
        ),
        (
            watched.behind < slow,
            f"only {watched.behind} of {slow} slow viewers were behind; buffers held the rest",
        ),
        (watched.raised.other, f"{watched.raised.other} bids were not accepted"),
        (seen.wrong, f"{seen.wrong} frames were duplicates, or a price or seq fell"),
        (seen.lost, f"{seen.lost} viewers that read lost their connection"),
        (seen.slow_lost, f"{seen.slow_lost} slow viewers were closed"),
        (seen.defects, seen.defects[:1]),
    )
    for applies, sentence in notes:
        if applies:
            recording.note(f"run {run.number}: {sentence}")


async def _behind(system: System) -> int:
    """The broadcasters are new, so those closed are this run's."""
    now = await system.metric(BROADCAST, "bid_viewers_behind")
    return round(now + await system.metric(BROADCAST, "bid_slow_viewers_closed_total"))


async def _watch(system: System, settings: Settings, recording: Recording, run: Run) -> _Watched:
    item = f"watched-{run.number}"
    clients = min(settings.clients, run.viewers)
    shares = [len(range(number, run.viewers, clients)) for number in range(clients)]
    firsts = list(itertools.accumulate(shares, initial=0))
    async with contextlib.AsyncExitStack() as stack:
        parts: list[Path] = []
        children: list[Child] = []
        for number, viewers in enumerate(shares):
            parts.append(recording.folder / f".part-{number}")
            task = Task(
                host="127.0.0.1",
                port=system.broadcast_port,
                item=item,
                viewers=viewers,
                slow=round(viewers * run.slow_share),
                first=firsts[number],
                run=run.number,
                samples=str(parts[-1]),
            )
            children.append(await stack.enter_async_context(Child("watching", task)))
            stack.callback(parts[-1].unlink, missing_ok=True)
        within_s = GREETED_WITHIN_S * (1 + max(shares) / AT_ONCE)
        connected = await asyncio.gather(
            *(child.hear(Connected, within_s=within_s) for child in children)
        )
        rss_bytes, cpu_s = await system.rss_bytes(BROADCAST), await system.cpu_s(BROADCAST)
        raised = await steady.raise_price(
            "127.0.0.1",
            system.api_port,
            item,
            rate_per_s=settings.rate_for(run.viewers),
            seconds=settings.seconds_for(run.viewers),
        )
        behind = await _behind(system)
        await asyncio.gather(*(child.tell(str(raised.accepted)) for child in children))
        seen = await asyncio.gather(
            *(child.hear(Seen, within_s=3 * SEEN_WITHIN_S + 60) for child in children)
        )
        cpu_s = await system.cpu_s(BROADCAST) - cpu_s
        for part in parts:
            await asyncio.to_thread(recording.append, DELIVERIES, HEAD, part)
    return _Watched(
        connect_us=[us for one in connected for us in one.connect_us],
        fast=sum(one.fast for one in connected),
        rss_bytes=rss_bytes,
        cpu_s=cpu_s,
        raised=raised,
        seen=total(seen),
        behind=behind,
        busiest=max(one.cpu_s / max(one.seconds, 1e-9) for one in seen),
    )


def total(parts: Sequence[Seen]) -> Seen:
    """The sums; of each seq, the largest latency."""
    last_us: dict[int, int] = {}
    for one in parts:
        for seq, us in one.last_us.items():
            last_us[seq] = max(us, last_us.get(seq, us))
    counts = ("delivered", "gaps", "wrong", "lost", "slow_lost")
    return Seen(
        **{name: sum(getattr(one, name) for one in parts) for name in counts},
        last_us=last_us,
        defects=[defect for one in parts for defect in one.defects],
    )


def percentiles(values: Sequence[int]) -> tuple[int, int]:
    """The 50th and the 99th, each a value that was measured; zeros without any."""
    ordered = sorted(values)
    if not ordered:
        return 0, 0
    half, most = (ordered[min(len(ordered) - 1, int(len(ordered) * p))] for p in (0.5, 0.99))
    return half, most
