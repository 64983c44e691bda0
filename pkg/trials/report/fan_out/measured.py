"""What a fan-out experiment measured, from its raw files."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from pkg.trials.report.checks import audits, disagreements, left_out
from pkg.trials.report.comparison import Metric
from pkg.trials.report.latencies import Latencies
from pkg.trials.report.results import Results
from pkg.trials.report.tables import rows, table
from pkg.trials.report.wording import figures, percent, whole

DELIVERIES, EVENTS = "deliveries.csv.gz", "events.csv.gz"


class Run(msgspec.Struct, frozen=True):
    """A row of runs.csv."""

    run: str
    repetition: int
    viewers: int
    slow_share: float
    broadcasters: int
    bids: int
    rate_per_s: float
    connected: int
    expected: int
    delivered: int
    gaps: int
    connect_p50_us: int | None
    connect_p99_us: int | None
    broadcaster_rss_before_bytes: int | None
    broadcaster_rss_bytes: int | None
    memory_per_connection_bytes: float | None
    broadcaster_cpu_s: float | None
    clock_offset_us: float | None
    clock_error_us: float | None
    audit: str

    @property
    def cpu_us(self) -> float | None:
        """CPU of all broadcasters a delivered event."""
        if self.broadcaster_cpu_s is None or not self.delivered:
            return None
        return self.broadcaster_cpu_s * 1e6 / self.delivered


@dataclass(frozen=True, order=True, slots=True)
class Scenario:
    """What is the same while the number of viewers grows."""

    broadcasters: int
    slow_share: float

    @property
    def name(self) -> str:
        many = "broadcaster" if self.broadcasters == 1 else "broadcasters"
        slow = percent(self.slow_share).replace(".0%", "%")
        return f"{self.broadcasters} {many}, {slow} slow"


@dataclass(frozen=True, slots=True)
class Case:
    """All repetitions of a scenario with the same number of viewers."""

    scenario: Scenario
    viewers: int
    rate_per_s: float
    runs: Sequence[Run]
    swift: Sequence[Latencies]
    """Deliveries to viewers that read at once, by run."""
    slow: Sequence[Latencies]
    last: Sequence[Latencies]
    """Of each event, until the last viewer had it, by run."""

    @property
    def name(self) -> str:
        return f"{whole(self.viewers)} viewers, {self.scenario.name}, {self.rate_per_s:g} bids/s"


@dataclass(frozen=True, slots=True)
class Measured:
    results: Results
    cases: Sequence[Case]
    """By scenario, then viewers."""
    notes: Sequence[str]
    problems: Sequence[str]

    @property
    def scenarios(self) -> list[Scenario]:
        return sorted({case.scenario for case in self.cases})

    def metrics(self) -> list[Metric]:
        def metric(
            name: str,
            source: str,
            value: Callable[[Case], Sequence[float | None]],
            better: Literal["higher", "lower"] = "lower",
        ) -> Metric:
            return Metric(name, better, source, {case.name: value(case) for case in self.cases})

        deliveries, events = f"`{DELIVERIES}`: latency_us where slow is 0", f"`{EVENTS}`"
        return [
            metric(
                "delivered share",
                "`runs.csv`: delivered / expected",
                lambda case: [
                    run.delivered / run.expected if run.expected else None for run in case.runs
                ],
                "higher",
            ),
            metric("delivery p50 (ms)", deliveries, lambda case: _ms(case.swift, 0.5)),
            metric("delivery p99 (ms)", deliveries, lambda case: _ms(case.swift, 0.99)),
            metric("last viewer p50 (ms)", events, lambda case: _ms(case.last, 0.5)),
            metric(
                "broadcaster CPU (µs/delivery)",
                "`runs.csv`: broadcaster_cpu_s / delivered",
                lambda case: [run.cpu_us for run in case.runs],
            ),
            metric(
                "memory a connection (bytes)",
                "`runs.csv`: memory_per_connection_bytes",
                lambda case: [run.memory_per_connection_bytes for run in case.runs],
            ),
        ]


def measured(results: Results) -> Measured:
    """Raises BadArgument for files that cannot be read."""
    runs, broken = rows(results, "runs.csv", Run)
    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    last: defaultdict[str, Counter[str]] = defaultdict(Counter)
    with table(results, DELIVERIES, ("run", "slow", "latency_us")) as deliveries:
        for run, slow, latency in deliveries:
            counts[run, slow][latency] += 1
    with table(results, EVENTS, ("run", "last_viewer_latency_us")) as events:
        for run, latency in events:
            last[run][latency] += 1
    by_run: Counter[str] = Counter()
    for (run, _), latencies in counts.items():
        by_run[run] += latencies.total()
    # runs.csv counts what swift viewers got; slow ones have only their rows.
    found = {
        (run, "delivered"): latencies.total()
        for (run, slow), latencies in counts.items()
        if slow == "0"
    }
    ended = {run.run for run in runs}
    cases = _cases(runs, counts, last)
    return Measured(
        results,
        cases,
        notes=[
            *(text for text in (broken, deliveries.broken, events.broken) if text),
            *left_out(by_run, ended, name=DELIVERIES),
            *(note for case in cases for note in _clocks(case)),
        ],
        problems=[
            *audits((run.run, run.audit) for run in runs),
            *(
                f"Run {run.run}: {run.gaps:,} gaps in viewers' events ({whole(run.viewers)} "
                f"viewers, {percent(run.slow_share)} slow)."
                for run in runs
                if run.gaps
            ),
            *(
                f"Run {run.run}: only {run.connected:,} of {run.viewers:,} viewers connected."
                for run in runs
                if run.connected < run.viewers
            ),
            *disagreements(
                [(run.run, "delivered", run.delivered) for run in runs], found, name=DELIVERIES
            ),
        ],
    )


def _cases(
    runs: Sequence[Run],
    counts: "defaultdict[tuple[str, str], Counter[str]]",
    last: "defaultdict[str, Counter[str]]",
) -> list[Case]:
    groups: defaultdict[tuple[Scenario, int, float], list[Run]] = defaultdict(list)
    for run in runs:
        scenario = Scenario(run.broadcasters, run.slow_share)
        groups[scenario, run.viewers, run.rate_per_s].append(run)

    def deliveries(run: Run, slow: str) -> Latencies:
        return Latencies.of_text(counts.get((run.run, slow), {}))

    return [
        Case(
            scenario,
            viewers,
            rate_per_s,
            group,
            swift=[deliveries(run, "0") for run in group],
            slow=[deliveries(run, "1") for run in group],
            last=[Latencies.of_text(last.get(run.run, {})) for run in group],
        )
        for (scenario, viewers, rate_per_s), group in sorted(groups.items())
    ]


def _clocks(case: Case) -> list[str]:
    """The offset is told, never corrected."""
    said = []
    for run, swift, slow in zip(case.runs, case.swift, case.slow, strict=True):
        if run.clock_offset_us:
            error = (
                "unknown" if run.clock_error_us is None else f"± {figures(run.clock_error_us)} µs"
            )
            said.append(
                f"Run {run.run}: the viewers' clock differs from the server's by about "
                f"{figures(run.clock_offset_us)} µs ({error}). Latencies are as read, not "
                "corrected."
            )
        if below := swift.negative + slow.negative:
            said.append(f"Run {run.run}: {below:,} deliveries have a latency below zero.")
    return said


def _ms(parts: Sequence[Latencies], share: float) -> list[float | None]:
    found = [part.at(share) for part in parts]
    return [None if value is None else value / 1000 for value in found]
