"""The report's section on contention."""

from collections.abc import Sequence

from pkg.trials.report import wording
from pkg.trials.report.checks import audit_cell
from pkg.trials.report.contention.measured import SAMPLES, Case, Measured
from pkg.trials.report.document import Block, Heading, Table, Text, Warnings
from pkg.trials.report.latencies import PERCENTILES, Latencies

_PERCENTILE_HEADS = tuple(f"p{share * 100:g} ms" for share in PERCENTILES)


def section(measured: Measured) -> list[Block]:
    from pkg.trials.report.contention import plots

    folder = measured.results.name
    opening: list[Block] = [
        Heading(f"Contention: {folder}"),
        Text(
            "All users read one item and bid above its price, as fast as they are answered. A "
            "request is one read or one bid; accepted bids are counted apart. Users wait for each "
            "answer, so a stall also holds back the requests that would have met it: with open "
            "arrivals, the percentiles would be higher."
        ),
        Warnings([*measured.notes, *measured.problems]),
    ]
    if not measured.cases:
        return [*opening, Text("No run of this experiment ended, so there is nothing to show.")]
    return [
        *opening,
        *plots.throughput(measured),
        _rates(measured.cases, folder),
        *plots.percentiles(measured),
        _latencies(measured.cases, folder),
        *plots.cpu(measured),
        _costs(measured.cases, folder),
    ]


def _rates(cases: Sequence[Case], folder: str) -> Table:
    return Table(
        (
            *("strategy", "users", "runs", "requests/s", "range", "accepted bids/s"),
            *("refused", "failed", "unknown", "retries per accepted bid", "audit"),
        ),
        [
            (
                case.strategy,
                wording.whole(case.users),
                str(len(case.runs)),
                wording.whole(wording.middle(run.requests_per_s for run in case.runs)),
                wording.span((run.requests_per_s for run in case.runs), wording.whole),
                wording.figures(wording.middle(run.accepted_per_s for run in case.runs)),
                _share(case, "refused"),
                _share(case, "failed"),
                _share(case, "unknown"),
                wording.figures(
                    _ratio(sum(r.retries for r in case.runs), sum(r.accepted for r in case.runs))
                ),
                audit_cell([run.audit for run in case.runs]),
            )
            for case in cases
        ],
        f"`{folder}/runs.csv`: requests, accepted and seconds (rates are medians of the runs); "
        "refused, failed and unknown as shares of bids; retries / accepted; audit.",
        last_is_words=True,
    )


def _latencies(cases: Sequence[Case], folder: str) -> Table:
    rows = []
    for case in cases:
        for what, parts in (("bids", case.bids), ("reads", case.reads)):
            together = Latencies.merged(parts)
            rows.append(
                (
                    case.strategy,
                    what,
                    wording.whole(case.users),
                    wording.whole(together.count),
                    *(wording.ms(together.at(share)) for share in PERCENTILES),
                    wording.ms(together.highest_at(1)),
                )
            )
    return Table(
        ("strategy", "request", "users", "samples", *_PERCENTILE_HEADS, "highest ms"),
        rows,
        f"`{folder}/{SAMPLES}`: latency_us where request is bid and outcome is accepted or "
        "refused, and where request is read and outcome is read; all runs of a case together. "
        "Percentiles by nearest rank; a dash where no sample lies beyond.",
        words=2,
    )


def _costs(cases: Sequence[Case], folder: str) -> Table:
    return Table(
        (
            *("strategy", "users", "API CPU µs/request", "range", "Redis CPU µs/request"),
            *("requests counted by users", "by the gateways"),
        ),
        [
            (
                case.strategy,
                wording.whole(case.users),
                wording.figures(wording.middle(run.api_us for run in case.runs)),
                wording.span(run.api_us for run in case.runs),
                wording.figures(wording.middle(run.redis_us for run in case.runs)),
                wording.whole(sum(run.requests for run in case.runs)),
                wording.whole(sum(run.server_requests for run in case.runs)),
            )
            for case in cases
        ],
        f"`{folder}/runs.csv`: api_cpu_s / server_requests and redis_cpu_s / server_requests "
        "(medians of the runs); requests; server_requests.",
    )


def _share(case: Case, what: str) -> str:
    part = sum(int(getattr(run, what)) for run in case.runs)
    return wording.percent(_ratio(part, sum(run.bids for run in case.runs)))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
