"""The report's first table: the few numbers that most readers came for."""

from collections.abc import Iterator

from pkg.trials.report import wording
from pkg.trials.report.contention.measured import SAMPLES
from pkg.trials.report.contention.measured import Measured as Contention
from pkg.trials.report.document import Block, Heading, Table
from pkg.trials.report.fan_out.measured import DELIVERIES
from pkg.trials.report.fan_out.measured import Measured as FanOut
from pkg.trials.report.latencies import Latencies
from pkg.trials.report.resilience.measured import Measured as Resilience


def section(
    contention: Contention | None, fan_out: FanOut | None, resilience: Resilience | None
) -> list[Block]:
    rows = [
        *(_contention(contention) if contention else ()),
        *(_fan_out(fan_out) if fan_out else ()),
        *(_resilience(resilience) if resilience else ()),
    ]
    if not rows:
        return []
    sources = [
        f"`{measured.results.name}`: {files}"
        for measured, files in (
            (contention, f"`runs.csv`, and `{SAMPLES}` for percentiles"),
            (fan_out, f"`runs.csv`, and `{DELIVERIES}` and `events.csv.gz` for percentiles"),
            (resilience, "`runs.csv`"),
        )
        if measured
    ]
    return [
        Heading("In short"),
        Table(
            ("experiment", "question", "answer"),
            rows,
            f"{'; '.join(sources)}. The sections below name the columns.",
            words=3,
        ),
    ]


def _contention(measured: Contention) -> Iterator[tuple[str, str, str]]:
    for strategy in sorted({case.strategy for case in measured.cases}):
        best = max(
            (case for case in measured.cases if case.strategy == strategy),
            key=lambda case: wording.middle(run.answered_per_s for run in case.runs) or 0,
        )
        bids = Latencies.merged(best.bids)
        yield (
            "contention",
            f"`{strategy}` at its highest throughput",
            (
                f"{wording.whole(wording.middle(r.requests_per_s for r in best.runs))} requests/s "
                f"and {wording.figures(wording.middle(r.accepted_per_s for r in best.runs))} "
                f"accepted bids/s with {wording.counted(best.users, 'user')}; bids' p50 "
                f"{wording.ms(bids.at(0.5))} ms, p99 {wording.ms(bids.at(0.99))} ms; "
                f"{wording.figures(wording.middle(r.api_us for r in best.runs))} µs of API CPU a "
                "request"
            ),
        )
    if measured.cases:
        yield "contention", "audits", _audits([r.audit for c in measured.cases for r in c.runs])


def _fan_out(measured: FanOut) -> Iterator[tuple[str, str, str]]:
    for scenario in measured.scenarios:
        largest = [case for case in measured.cases if case.scenario == scenario][-1]
        expected = sum(run.expected for run in largest.runs)
        delivered = sum(run.delivered for run in largest.runs)
        yield (
            "fan-out",
            largest.name,
            (
                f"p99 {wording.ms(Latencies.merged(largest.swift).at(0.99))} ms; the last viewer's "
                f"median {wording.ms(Latencies.merged(largest.last).at(0.5))} ms; "
                f"{wording.percent(delivered / expected if expected else None)} of {expected:,} "
                f"deliveries; {wording.counted(sum(r.gaps for r in largest.runs), 'gap')}"
            ),
        )
    if measured.cases:
        yield "fan-out", "audits", _audits([r.audit for c in measured.cases for r in c.runs])


def _resilience(measured: Resilience) -> Iterator[tuple[str, str, str]]:
    runs = [case.run for case in measured.cases]
    if not runs:
        return
    accepted, lost = sum(run.accepted for run in runs), sum(run.lost for run in runs)
    late = [run.drain_s for run in runs if run.drain_s is not None]
    yield (
        "resilience",
        f"bids lost in {wording.counted(len(runs), 'fault')}",
        f"{lost:,} of {accepted:,} accepted",
    )
    if late:
        yield "resilience", "longest drain after a fault", f"{wording.figures(max(late))} s"
    yield "resilience", "audits", _audits([run.audit for run in runs])


def _audits(audits: list[str]) -> str:
    good = sum(audit == "ok" for audit in audits)
    return f"{good} of {len(audits)} ok"
