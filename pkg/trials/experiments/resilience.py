"""Resilience: each part is taken away under load, and what it costs is counted."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field

from pkg.devkit.names import API, ARCHIVAL, BROADCAST, NATS, POSTGRES, REDIS
from pkg.trials import metrics_text
from pkg.trials.crowd.archive import judge
from pkg.trials.crowd.bidders import ANSWER_WITHIN_S, Bidders
from pkg.trials.crowd.ledger import Ledger, Outcome
from pkg.trials.crowd.viewers import VIEWERS, Viewers
from pkg.trials.experiments import archived
from pkg.trials.experiments.archived import Archived
from pkg.trials.experiments.countdown import Countdown
from pkg.trials.experiments.machine import Needs
from pkg.trials.experiments.recording import Recording
from pkg.trials.experiments.strikes import Fault, Strikes
from pkg.trials.experiments.system import System, page
from pkg.trials.faults.lateness import LATE_S, whole_s
from pkg.trials.run_json import Experiment
from pkg.trials.waiting import NotInTimeError, until

NAME: Experiment = "resilience"
REPLICAS = {API: 2, BROADCAST: 1, ARCHIVAL: 1}
TARGETS = (BROADCAST, ARCHIVAL, NATS, POSTGRES, REDIS, API)
"""Of the gateways, one of two."""
ITEMS = 20
BIDS = "bids.csv.gz"
DEPTH = "depth.csv.gz"
HEARTBEAT_S = 4.0
"""Viewers ping, or they would not notice a broadcaster that hangs."""
_DEPTH_EVERY_S = 0.5
_SETTLES_WITHIN_S = 20.0
_OVERHEAD_S = 7.0
"""Of a run: connecting, draining, the audit."""


@dataclass(frozen=True)
class Settings:
    targets: tuple[str, ...]
    faults: tuple[Fault, ...]
    baseline_s: float
    fault_s: float
    recovery_s: float
    rate_per_s: float
    """Bids, over 20 items and 80 bidders."""

    @property
    def needs(self) -> Needs:
        return Needs(connections=ITEMS * 4 + VIEWERS)

    @property
    def run_expected_s(self) -> float:
        return self.baseline_s + self.fault_s + self.recovery_s + _OVERHEAD_S


FULL = Settings(
    targets=TARGETS,
    faults=tuple(Fault),
    baseline_s=15.0,
    fault_s=60.0,
    recovery_s=20.0,
    rate_per_s=100.0,
)
QUICK = Settings(
    targets=TARGETS,
    faults=tuple(Fault),
    baseline_s=2.0,
    fault_s=3.0,
    recovery_s=2.0,
    rate_per_s=100.0,
)


@dataclass(frozen=True)
class Run:
    number: int
    target: str
    fault: Fault

    @property
    def items(self) -> tuple[str, ...]:
        return tuple(f"run-{self.number}-lot-{lot:02d}" for lot in range(ITEMS))


def runs(settings: Settings, can: Callable[[str, Fault], bool]) -> Iterator[Run]:
    """Fault by fault, so that a part has time to be well again before its next one."""
    numbers = itertools.count(1)
    for fault, target in itertools.product(settings.faults, settings.targets):
        if can(target, fault):
            yield Run(next(numbers), target, fault)


async def measure(
    system: System, settings: Settings, recording: Recording, strikes: Strikes
) -> None:
    if missing := list(_not_made(settings, strikes)):
        recording.note(f"not made on {system.backend.name}: {', '.join(missing)}")
    recording.note(strikes.note)
    all_runs = list(runs(settings, strikes.can))
    countdown = Countdown(NAME, [settings.run_expected_s] * len(all_runs))
    for run in all_runs:
        countdown.begins(f"{run.fault} {run.target}")
        countdown.ended(await _Trial(system, settings, recording, strikes, run).measure())


def _not_made(settings: Settings, strikes: Strikes) -> Iterator[str]:
    for fault in settings.faults:
        parts = [target for target in settings.targets if not strikes.can(target, fault)]
        if len(parts) == len(settings.targets):
            yield fault.value
        elif parts:
            yield f"{fault} of {' and '.join(parts)}"


@dataclass
class _Phases:
    """Moments (time.monotonic)."""

    began: float = 0.0
    fault_from: float = 0.0
    fault_to: float = 0.0
    recovery_to: float = 0.0

    def at_s(self, moment: float) -> float:
        return round(moment - self.began, 3)


@dataclass
class _Trial:
    system: System
    settings: Settings
    recording: Recording
    strikes: Strikes
    run: Run
    ledger: Ledger = field(default_factory=Ledger)
    phases: _Phases = field(default_factory=_Phases)
    bids: list[tuple[int, float, str, int]] = field(default_factory=list)
    depths: list[tuple[int, float, int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    async def measure(self) -> str:
        """Adds the run to the recording; returns a line for the terminal."""
        viewers = Viewers(self.system.broadcast_port, items=self.run.items, heartbeat_s=HEARTBEAT_S)
        async with _while_block_runs(viewers.run()) as watching:
            await until(
                lambda: viewers.open == VIEWERS, within_s=30, what="every viewer is connected"
            )
            try:
                await self._under_load()
            finally:
                self._keep_samples()
            await self.system.becomes_ready()
            await self._drain()
            kept = await archived.read(self.system, self.run.items)
            behind = await self._settle(viewers, kept)
            if watching.done():
                watching.result()  # raises what ended it, most likely an unreadable frame
        audit = await self.system.audit()
        return self._record(viewers, kept, audit, behind=behind)

    async def _under_load(self) -> None:
        settings, phases = self.settings, self.phases
        bidders = Bidders(
            self.system.api_port,
            self.ledger,
            items=self.run.items,
            rate_per_s=settings.rate_per_s,
            heard=self._heard,
        )
        phases.began = time.monotonic()
        async with (
            _while_block_runs(bidders.run()) as bidding,
            _while_block_runs(self._watch_depth()),
        ):
            await asyncio.sleep(settings.baseline_s)
            phases.fault_from = time.monotonic()
            async with self.strikes.strike(self.system, self.run.target, self.run.fault):
                left_s = phases.fault_from + settings.fault_s - time.monotonic()
                await asyncio.sleep(max(left_s, 0.0))
            phases.fault_to = time.monotonic()
            await asyncio.sleep(settings.recovery_s)
            bidders.stop()
            async with asyncio.timeout(2 * ANSWER_WITHIN_S):
                await bidding
            phases.recovery_to = time.monotonic()

    def _heard(self, outcome: Outcome, sent_at: float, took_s: float) -> None:
        at_s = round(sent_at - self.phases.began, 6)
        self.bids.append((self.run.number, at_s, outcome.value, round(took_s * 1e6)))

    async def _watch_depth(self) -> None:
        """Asks the gateways themselves: bidkit may not answer during a fault."""
        gateways = await self.system.replicas_of(API)
        while True:
            for text in await asyncio.gather(*(page(one) for one in gateways)):
                if metrics_text.is_relaying(text):
                    entries = metrics_text.total([text], "bid_outbox_entries")
                    unarchived = metrics_text.total([text], "bid_outbox_depth")
                    at_s = self.phases.at_s(time.monotonic())
                    self.depths.append((self.run.number, at_s, round(entries), round(unarchived)))
            await asyncio.sleep(_DEPTH_EVERY_S)

    async def _drain(self) -> None:
        try:
            await self.system.drained()
        except NotInTimeError as error:
            self.problems.append(str(error))

    async def _settle(self, viewers: Viewers, kept: Archived) -> int:
        """The viewers who never see the last state."""
        last: dict[str, int] = {}
        for bid in kept.bids.values():
            last[bid.item] = max(bid.seq, last.get(bid.item, 0))
        with contextlib.suppress(NotInTimeError):
            await until(lambda: viewers.behind(last) == 0, within_s=_SETTLES_WITHIN_S)
        return viewers.behind(last)

    def _keep_samples(self) -> None:
        self.recording.samples(BIDS, ("run", "at_s", "outcome", "latency_us"), self.bids)
        head = ("run", "at_s", "outbox_depth", "unarchived")
        self.recording.samples(DEPTH, head, self.depths)

    def _record(self, viewers: Viewers, kept: Archived, audit: str, *, behind: int) -> str:
        ledger, phases = self.ledger, self.phases
        compared = judge(ledger, kept.bids, kept.letters, viewers.shown)
        self.problems += [*compared.problems, *ledger.defects[:1]]
        if compared.conflicts:
            self.problems.append(f"{len(compared.conflicts)} accepted bids are dead letters")
        if viewers.contradictions or compared.shown_otherwise:
            self.problems.append("viewers were shown a bid that is not the archived one")
        clock = time.time() - time.monotonic()  # the stores are on this machine: one clock
        kept_at = {event: at - clock for event, at in kept.at.items()}
        late = sum(kept_at.get(event, at) > at + LATE_S for event, at in ledger.accepted_at.items())
        drain_s = whole_s(ledger, kept_at, ended_at=phases.fault_to)
        seen = viewers.seen()
        gaps = seen.repaired + seen.unrepaired + behind
        verdict = "; ".join([*([] if audit == "ok" else [audit]), *self.problems]) or "ok"
        accepted, lost = len(ledger.accepted), len(compared.lost)
        failed, unknown = ledger.failed.total(), len(ledger.unknown)
        self.recording.ended(
            {
                "run": self.run.number,
                "target": self.run.target,
                "fault": self.run.fault.value,
                "baseline_from_s": 0.0,
                "fault_from_s": phases.at_s(phases.fault_from),
                "fault_to_s": phases.at_s(phases.fault_to),
                "recovery_to_s": phases.at_s(phases.recovery_to),
                "accepted": accepted,
                "refused": ledger.refused,
                "failed": failed,
                "unknown": unknown,
                "lost": lost,
                "archived_late": late,
                "drain_s": round(drain_s, 3),
                "viewer_gaps": gaps,
                "audit": verdict,
            }
        )
        return (
            f"{accepted} accepted, {failed} failed, {unknown} unknown, {lost} lost, {late} "
            f"archived late, {gaps} viewers' gaps, whole after {drain_s:.1f} s, audit {verdict}"
        )


@contextlib.asynccontextmanager
async def _while_block_runs(
    work: Coroutine[object, object, None],
) -> AsyncIterator["asyncio.Task[None]"]:
    """Cancelled with the block, and waited for."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
