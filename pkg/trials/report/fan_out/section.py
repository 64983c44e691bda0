"""The report's section on fan-out."""

from collections.abc import Sequence

from pkg.trials.report import wording
from pkg.trials.report.checks import audit_cell
from pkg.trials.report.document import Block, Heading, Table, Text, Warnings
from pkg.trials.report.fan_out.measured import DELIVERIES, EVENTS, Case, Measured
from pkg.trials.report.latencies import PERCENTILES, Latencies


def section(measured: Measured) -> list[Block]:
    from pkg.trials.report.fan_out import plots

    folder = measured.results.name
    opening: list[Block] = [
        Heading(f"Fan-out: {folder}"),
        Text(
            "Viewers watch one item, and bids arrive at a fixed rate. A latency runs from the "
            "server's timestamp of the bid to its arrival at a viewer. The last viewer's latency "
            "is an event's longest among swift viewers, which read at once. Slow viewers read too "
            "little on purpose and are shown apart."
        ),
        Warnings([*measured.notes, *measured.problems]),
    ]
    if not measured.cases:
        return [*opening, Text("No run of this experiment ended, so there is nothing to show.")]
    return [
        *opening,
        *plots.by_viewers(measured),
        *plots.percentiles(measured),
        _latencies(measured.cases, folder),
        _completeness(measured.cases, folder),
        *plots.costs(measured),
        _costs(measured.cases, folder),
    ]


def _latencies(cases: Sequence[Case], folder: str) -> Table:
    rows = []
    for case in cases:
        whom = (
            ("swift viewers", case.swift),
            ("slow viewers", case.slow),
            ("last viewer", case.last),
        )
        for who, parts in whom:
            together = Latencies.merged(parts)
            if together.count:
                rows.append(
                    (
                        case.scenario.name,
                        who,
                        wording.whole(case.viewers),
                        wording.whole(together.count),
                        *(wording.ms(together.at(share)) for share in PERCENTILES),
                        wording.ms(together.highest_at(1)),
                    )
                )
    heads = (f"p{share * 100:g} ms" for share in PERCENTILES)
    return Table(
        ("scenario", "latency of", "viewers", "samples", *heads, "highest ms"),
        rows,
        f"`{folder}/{DELIVERIES}`: latency_us where slow is 0 (swift) or 1 (slow); "
        f"`{folder}/{EVENTS}`: last_viewer_latency_us; all runs of a case together. Percentiles by "
        "nearest rank; a dash where no sample lies beyond.",
        words=2,
    )


def _completeness(cases: Sequence[Case], folder: str) -> Table:
    def total(case: Case, what: str) -> int:
        return sum(int(getattr(run, what)) for run in case.runs)

    return Table(
        (
            *(
                "scenario",
                "viewers",
                "runs",
                "connected",
                "bids/s",
                "bids",
                "expected",
                "delivered",
            ),
            *("completeness", "gaps", "audit"),
        ),
        [
            (
                case.scenario.name,
                wording.whole(case.viewers),
                str(len(case.runs)),
                wording.percent(_ratio(total(case, "connected"), total(case, "viewers"))),
                f"{case.rate_per_s:g}",
                wording.whole(total(case, "bids")),
                wording.whole(total(case, "expected")),
                wording.whole(total(case, "delivered")),
                wording.percent(_ratio(total(case, "delivered"), total(case, "expected"))),
                wording.whole(total(case, "gaps")),
                audit_cell([run.audit for run in case.runs]),
            )
            for case in cases
        ],
        f"`{folder}/runs.csv`: connected / viewers, rate_per_s, bids, expected, delivered, gaps, "
        "audit; sums over the runs. Expected, delivered and gaps are of viewers that read at once: "
        "a slow one is sent a snapshot in place of what it missed.",
        last_is_words=True,
    )


def _costs(cases: Sequence[Case], folder: str) -> Table:
    return Table(
        (
            *(
                "scenario",
                "viewers",
                "CPU µs/delivery",
                "memory a connection",
                "all broadcasters' memory",
            ),
            *("connect p50 ms", "connect p99 ms", "clock offset µs"),
        ),
        [
            (
                case.scenario.name,
                wording.whole(case.viewers),
                wording.figures(wording.middle(run.cpu_us for run in case.runs)),
                wording.size(wording.middle(run.memory_per_connection_bytes for run in case.runs)),
                wording.size(wording.middle(run.broadcaster_rss_bytes for run in case.runs)),
                wording.ms(wording.middle(run.connect_p50_us for run in case.runs)),
                wording.ms(wording.middle(run.connect_p99_us for run in case.runs)),
                _offset(case),
            )
            for case in cases
        ],
        f"`{folder}/runs.csv`: broadcaster_cpu_s / delivered, memory_per_connection_bytes, "
        "broadcaster_rss_bytes, connect_p50_us, connect_p99_us, clock_offset_us ± clock_error_us; "
        "medians of the runs.",
    )


def _offset(case: Case) -> str:
    offset = wording.middle(run.clock_offset_us for run in case.runs)
    error = wording.middle(run.clock_error_us for run in case.runs)
    return wording.DASH if offset is None else f"{offset:,.0f} ± {wording.whole(error)}"


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
