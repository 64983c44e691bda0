"""What a contention experiment measured, from its raw files."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pkg.trials.report.checks import audits, disagreements, left_out
from pkg.trials.report.comparison import Metric
from pkg.trials.report.latencies import Latencies
from pkg.trials.report.results import Results
from pkg.trials.report.tables import rows, table
from pkg.trials.report.wording import whole

SAMPLES = "samples.csv.gz"
ANSWERED = frozenset({"accepted", "refused"})
"""Outcomes that the auction decided. Others are counted, and their latencies left out."""


class Run(msgspec.Struct, frozen=True):
    """A row of runs.csv."""

    run: str
    repetition: int
    strategy: str
    users: int
    seconds: float
    requests: int
    reads: int
    bids: int
    accepted: int
    refused: int
    failed: int
    unknown: int
    retries: int
    server_requests: int
    api_cpu_s: float | None
    redis_cpu_s: float | None
    audit: str

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.seconds

    @property
    def answered_per_s(self) -> float:
        """Requests that the auction decided, with those reads that failed."""
        return (self.requests - self.failed - self.unknown) / self.seconds

    @property
    def accepted_per_s(self) -> float:
        return self.accepted / self.seconds

    @property
    def api_us(self) -> float | None:
        """CPU of all gateways a request that they counted."""
        return _each(self.api_cpu_s, self.server_requests)

    @property
    def redis_us(self) -> float | None:
        return _each(self.redis_cpu_s, self.server_requests)


@dataclass(frozen=True, slots=True)
class Case:
    """All repetitions with the same users and strategy."""

    strategy: str
    users: int
    runs: Sequence[Run]
    bids: Sequence[Latencies]
    """Of answered bids, by run."""
    reads: Sequence[Latencies]

    @property
    def name(self) -> str:
        return f"{self.strategy}, {whole(self.users)} users"


@dataclass(frozen=True, slots=True)
class Measured:
    results: Results
    cases: Sequence[Case]
    """By users, then strategy."""
    notes: Sequence[str]
    problems: Sequence[str]

    def metrics(self) -> list[Metric]:
        return [
            Metric(
                "requests/s",
                "higher",
                "`runs.csv`: requests / seconds",
                {case.name: [run.requests_per_s for run in case.runs] for case in self.cases},
            ),
            Metric(
                "accepted bids/s",
                "higher",
                "`runs.csv`: accepted / seconds",
                {case.name: [run.accepted_per_s for run in case.runs] for case in self.cases},
            ),
            *(
                Metric(
                    f"bid p{share * 100:g} (ms)",
                    "lower",
                    f"`{SAMPLES}`: latency_us of answered bids",
                    {
                        case.name: [_ms(latencies.at(share)) for latencies in case.bids]
                        for case in self.cases
                    },
                )
                for share in (0.5, 0.99)
            ),
            Metric(
                "API CPU (µs/request)",
                "lower",
                "`runs.csv`: api_cpu_s / server_requests",
                {case.name: [run.api_us for run in case.runs] for case in self.cases},
            ),
        ]


def measured(results: Results) -> Measured:
    """Raises BadArgument for files that cannot be read."""
    runs, broken = rows(results, "runs.csv", Run)
    counts: defaultdict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    columns = ("run", "request", "outcome", "latency_us")
    with table(results, SAMPLES, columns) as samples:
        for run, request, outcome, latency in samples:
            counts[run, request, outcome][latency] += 1
    by_run: Counter[str] = Counter()
    found: Counter[tuple[str, str]] = Counter()
    for (run, request, outcome), latencies in counts.items():
        number = latencies.total()
        by_run[run] += number
        found[run, "requests"] += number
        found[run, "reads" if request == "read" else "bids"] += number
        if request == "bid":
            found[run, outcome] += number
    whats = ("requests", "reads", "bids", "accepted", "refused", "failed", "unknown")
    stated = [(run.run, what, int(getattr(run, what))) for run in runs for what in whats]
    return Measured(
        results,
        _cases(runs, counts),
        notes=[
            *(text for text in (broken, samples.broken) if text),
            *left_out(by_run, {run.run for run in runs}, name=SAMPLES),
        ],
        problems=[
            *audits((run.run, run.audit) for run in runs),
            *disagreements(stated, found, name=SAMPLES),
        ],
    )


def _cases(
    runs: Sequence[Run], counts: "defaultdict[tuple[str, str, str], Counter[str]]"
) -> list[Case]:
    def latencies(run: Run, request: str, outcomes: frozenset[str]) -> Latencies:
        together: Counter[str] = Counter()
        for outcome in outcomes:
            together.update(counts.get((run.run, request, outcome), {}))
        return Latencies.of_text(together)

    groups: defaultdict[tuple[int, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.users, run.strategy].append(run)
    return [
        Case(
            strategy,
            users,
            group,
            bids=[latencies(run, "bid", ANSWERED) for run in group],
            reads=[latencies(run, "read", frozenset({"read"})) for run in group],
        )
        for (users, strategy), group in sorted(groups.items())
    ]


def _each(cpu_s: float | None, number: int) -> float | None:
    return cpu_s * 1e6 / number if cpu_s is not None and number else None


def _ms(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1000
