"""What a resilience experiment measured, from its raw files."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pkg.trials.report.checks import audits, disagreements, left_out
from pkg.trials.report.comparison import Metric
from pkg.trials.report.latencies import Latencies
from pkg.trials.report.results import Results
from pkg.trials.report.tables import rows, table
from pkg.trials.report.wording import counted

BIDS, DEPTH = "bids.csv.gz", "depth.csv.gz"
OUTCOMES = ("accepted", "refused", "failed", "unknown")
ANSWERED = frozenset({"accepted", "refused"})


class Run(msgspec.Struct, frozen=True):
    """A row of runs.csv."""

    run: str
    target: str
    fault: str
    baseline_from_s: float
    fault_from_s: float
    fault_to_s: float
    recovery_to_s: float
    accepted: int
    refused: int
    failed: int
    unknown: int
    lost: int
    archived_late: int | None
    drain_s: float | None
    viewer_gaps: int | None
    audit: str

    @property
    def name(self) -> str:
        return f"{self.target}, {self.fault}"

    def phases(self) -> list[tuple[str, float, float]]:
        """Each with its bounds in seconds; the second is not in it."""
        return [
            ("before", self.baseline_from_s, self.fault_from_s),
            ("fault", self.fault_from_s, self.fault_to_s),
            ("after", self.fault_to_s, self.recovery_to_s),
        ]


@dataclass(slots=True)
class Span:
    """Bids of some time."""

    seconds: float
    outcomes: Counter[str]
    answered: Latencies

    @property
    def accepted_per_s(self) -> float | None:
        return self.outcomes["accepted"] / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Case:
    run: Run
    phases: dict[str, Span]
    seconds: dict[int, Span]
    """By whole second since the run's begin."""
    depth: Sequence[tuple[float, int, int]]
    """(at_s, entries in the outbox, bids not yet archived)."""


@dataclass(frozen=True, slots=True)
class Measured:
    results: Results
    cases: Sequence[Case]
    notes: Sequence[str]
    problems: Sequence[str]

    def metrics(self) -> list[Metric]:
        phase_rates: defaultdict[str, list[float | None]] = defaultdict(list)
        phase_p99: defaultdict[str, list[float | None]] = defaultdict(list)
        drains: defaultdict[str, list[float | None]] = defaultdict(list)
        for case in self.cases:
            drains[case.run.name].append(case.run.drain_s)
            for phase, span in case.phases.items():
                name = f"{case.run.name}, {phase}"
                latency = span.answered.at(0.99)
                phase_rates[name].append(span.accepted_per_s)
                phase_p99[name].append(None if latency is None else latency / 1000)
        return [
            Metric(
                "accepted bids/s",
                "higher",
                f"`{BIDS}`: rows where outcome is accepted",
                phase_rates,
            ),
            Metric("bid p99 (ms)", "lower", f"`{BIDS}`: latency_us of answered bids", phase_p99),
            Metric("drain (s)", "lower", "`runs.csv`: drain_s", drains),
        ]


def measured(results: Results) -> Measured:
    """Raises BadArgument for files that cannot be read."""
    runs, broken = rows(results, "runs.csv", Run)
    bids: defaultdict[str, list[tuple[float, str, int]]] = defaultdict(list)
    with table(results, BIDS, ("run", "at_s", "outcome", "latency_us")) as samples:
        for run, at_s, outcome, latency in samples:
            bids[run].append((float(at_s), outcome, int(latency)))
    depth: defaultdict[str, list[tuple[float, int, int]]] = defaultdict(list)
    with table(results, DEPTH, ("run", "at_s", "outbox_depth", "unarchived")) as depths:
        for run, at_s, waiting, unarchived in depths:
            depth[run].append((float(at_s), int(waiting), int(unarchived)))
    found: Counter[tuple[str, str]] = Counter()
    for run, theirs in bids.items():
        found.update((run, outcome) for _, outcome, _ in theirs)
    stated = [(run.run, what, int(getattr(run, what))) for run in runs for what in OUTCOMES]
    return Measured(
        results,
        [_case(run, bids.get(run.run, []), sorted(depth.get(run.run, []))) for run in runs],
        notes=[
            *(text for text in (broken, samples.broken, depths.broken) if text),
            *left_out(
                {run: len(theirs) for run, theirs in bids.items()},
                {run.run for run in runs},
                name=BIDS,
            ),
        ],
        problems=[
            *(
                f"Run {run.run} ({run.name}): {counted(run.lost, 'accepted bid')} lost."
                for run in runs
                if run.lost
            ),
            *audits((f"{run.run} ({run.name})", run.audit) for run in runs),
            *disagreements(stated, found, name=BIDS),
        ],
    )


def _case(
    run: Run, bids: Sequence[tuple[float, str, int]], depth: Sequence[tuple[float, int, int]]
) -> Case:
    by_second: defaultdict[int, list[tuple[float, str, int]]] = defaultdict(list)
    for bid in bids:
        by_second[int(bid[0])].append(bid)
    return Case(
        run,
        phases={
            name: _span([bid for bid in bids if begin <= bid[0] < end], end - begin)
            for name, begin, end in run.phases()
        },
        # A second without any bid is a finding, not a hole in the line. The last one is not whole.
        seconds={
            second: _span(by_second.get(second, []), 1.0)
            for second in range(max(int(run.recovery_to_s), 0))
        },
        depth=depth,
    )


def _span(bids: Sequence[tuple[float, str, int]], seconds: float) -> Span:
    return Span(
        seconds,
        Counter(outcome for _, outcome, _ in bids),
        Latencies(Counter(latency for _, outcome, latency in bids if outcome in ANSWERED)),
    )
