"""The original's published figures beside ours, with what must be known to read them."""

from collections.abc import Sequence

from pkg.trials.report import wording
from pkg.trials.report.contention.measured import SAMPLES
from pkg.trials.report.contention.measured import Case as ContentionCase
from pkg.trials.report.contention.measured import Measured as Contention
from pkg.trials.report.document import Block, Heading, Points, Table
from pkg.trials.report.fan_out.measured import DELIVERIES
from pkg.trials.report.fan_out.measured import Case as FanOutCase
from pkg.trials.report.fan_out.measured import Measured as FanOut
from pkg.trials.report.latencies import Latencies
from pkg.trials.report.resilience.measured import Case as ResilienceCase
from pkg.trials.report.resilience.measured import Measured as Resilience

# Requests a second on AWS, four API tasks of half a vCPU.
REQUESTS_PER_S = {
    ("lua", 100): 3_899,
    ("lua", 500): 12_180,
    ("lua", 1_000): 14_466,
    ("lua", 2_000): 13_687,
    ("lua", 10_000): 13_995,
    ("optimistic", 100): 3_624,
    ("optimistic", 500): 8_961,
    ("optimistic", 1_000): 8_733,
    ("optimistic", 2_000): 8_556,
    ("optimistic", 10_000): 8_662,
}
VCPUS = 2.0
ACCEPTED_PER_S = {("optimistic", 1_000): 83.6}
FAN_OUT_P99_MS = {100: (17, 17), 1_000: (55, 172), 3_500: (319, 319), 10_000: (446, 1_073)}
SURVIVED = ("broadcast", "archive", "nats")
"""What it ran without for a minute, at 13 bids/s, with no HTTP error."""

_CAVEATS = (
    (
        "The original's requests are HTTP requests: a GET, a POST and a third counted event for "
        "every bid. Ours are one read or one bid each. Compare accepted bids, where it published "
        "them: once, 83.6/s at 1,000 users with `optimistic`."
    ),
    (
        'Its "P99" for `lua` is Locust\'s 66th percentile, misread by a column, so no latency of '
        "its contention test stands here. Ours are computed from raw samples."
    ),
    (
        "It ran on AWS, on four API tasks of half a vCPU. Where ours ran is in the table of runs: "
        "on one machine, load, services and stores share the cores, so a rate says as much about "
        "the load generator as about the system. Per core-second, its requests are divided by the "
        "2 vCPU it had and ours by the CPU time that our gateways used: nearer to each other, but "
        "a vCPU of AWS is not a core of this machine."
    ),
    (
        "Its fan-out ran on two to four tasks of half a vCPU. Its P99 is given as it was "
        "published, a range where it published several."
    ),
    (
        "Its resilience test counted HTTP errors, not bids: events published while NATS was away "
        "were lost, and nothing measured that."
    ),
)


def section(
    contention: Contention | None, fan_out: FanOut | None, resilience: Resilience | None
) -> list[Block]:
    """Beside the leading results of each experiment."""
    blocks: list[Block] = [Heading("Beside the original"), Points(_CAVEATS)]
    if contention and contention.cases:
        blocks += [Heading("Contention beside the original", 3), _contention(contention)]
    if fan_out and fan_out.cases:
        blocks += [Heading("Fan-out beside the original", 3), _fan_out(fan_out)]
    if resilience and (stopped := _alike(resilience)):
        blocks += [Heading("Resilience beside the original", 3), _resilience(resilience, stopped)]
    return blocks if any(isinstance(block, Table) for block in blocks) else []


def _contention(measured: Contention) -> Table:
    ours = {(case.strategy, case.users): case for case in measured.cases}
    rows = []
    for strategy, users in sorted({*REQUESTS_PER_S, *ours}):
        case = ours.get((strategy, users))
        theirs = REQUESTS_PER_S.get((strategy, users))
        rows.append(
            (
                strategy,
                wording.whole(users),
                wording.whole(theirs),
                _median(case, "requests_per_s"),
                wording.figures(ACCEPTED_PER_S.get((strategy, users))),
                _median(case, "accepted_per_s"),
                wording.whole(theirs / VCPUS if theirs else None),
                _per_core(case),
                wording.ms(Latencies.merged(case.bids).at(0.99)) if case else wording.DASH,
            )
        )
    return Table(
        (
            *("strategy", "users", "requests/s: original", "ours"),
            *("accepted bids/s: original", "ours"),
            *("requests per core-second: original", "ours", "bid p99 ms: ours"),
        ),
        rows,
        f"`{measured.results.name}/runs.csv`: requests / seconds, accepted / seconds, "
        f"server_requests / api_cpu_s (medians of the runs); `{measured.results.name}/{SAMPLES}`: "
        "latency_us of answered bids. The original: its published figures; per core-second they "
        "are divided by 2 vCPU.",
    )


def _fan_out(measured: FanOut) -> Table:
    def ours(viewers: int) -> list[FanOutCase]:
        return [case for case in measured.cases if case.viewers == viewers]

    rows: list[tuple[str, ...]] = []
    for viewers in sorted({*FAN_OUT_P99_MS, *(case.viewers for case in measured.cases)}):
        low, high = FAN_OUT_P99_MS.get(viewers, (None, None))
        theirs = wording.whole(low) if low == high else wording.span((low, high), wording.whole)
        rows += [
            (
                case.scenario.name,
                wording.whole(viewers),
                theirs,
                wording.ms(Latencies.merged(case.swift).at(0.99)),
                wording.ms(Latencies.merged(case.last).at(0.5)),
            )
            for case in ours(viewers)
        ] or [("not measured", wording.whole(viewers), theirs, wording.DASH, wording.DASH)]
    return Table(
        ("our scenario", "viewers", "p99 ms: original", "p99 ms: ours", "last viewer p50 ms: ours"),
        rows,
        f"`{measured.results.name}/{DELIVERIES}`: latency_us where slow is 0; "
        f"`{measured.results.name}/events.csv.gz`: last_viewer_latency_us. The original: its "
        "published figures.",
    )


def _alike(measured: Resilience) -> list[ResilienceCase]:
    return [
        case
        for case in measured.cases
        if case.run.fault == "stop"
        and any(case.run.target.lower().startswith(part[:5]) for part in SURVIVED)
    ]


def _resilience(measured: Resilience, stopped: Sequence[ResilienceCase]) -> Table:
    rows = []
    for case in stopped:
        span = case.phases["fault"]
        total = span.outcomes.total()
        wrong = span.outcomes["failed"] + span.outcomes["unknown"]
        rows.append(
            (
                case.run.target,
                "60 s, 13 bids/s: 0 % HTTP errors, losses not measured",
                f"{case.run.fault_to_s - case.run.fault_from_s:.0f}",
                wording.figures(span.accepted_per_s),
                wording.percent(wrong / total if total else None),
                wording.whole(case.run.lost),
            )
        )
    return Table(
        (
            "stopped",
            "original",
            "seconds: ours",
            "accepted bids/s",
            "failed or unknown",
            "bids lost",
        ),
        rows,
        f"`{measured.results.name}/bids.csv.gz`: rows by outcome during the fault; "
        f"`{measured.results.name}/runs.csv`: lost.",
        words=2,
    )


def _median(case: ContentionCase | None, what: str) -> str:
    if case is None:
        return wording.DASH
    return wording.figures(wording.middle(float(getattr(run, what)) for run in case.runs))


def _per_core(case: ContentionCase | None) -> str:
    each = wording.middle(run.api_us for run in case.runs) if case else None
    return wording.whole(1e6 / each if each else None)
