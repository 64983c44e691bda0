"""Plots of contention. Needs matplotlib."""

from collections.abc import Callable, Iterator, Sequence

from matplotlib.axes import Axes

from pkg.trials.report import wording
from pkg.trials.report.contention.measured import SAMPLES, Case, Measured, Run
from pkg.trials.report.document import Plot
from pkg.trials.report.drawing import (
    LOOKS,
    Look,
    categories,
    drawn,
    line,
    log_scale,
    percentile_axis,
    plain_numbers,
)
from pkg.trials.report.latencies import Latencies

_COLUMNS = 3


def throughput(measured: Measured) -> Iterator[Plot]:
    name = f"contention-throughput{measured.results.suffix}"
    with drawn(name, columns=2) as drawing:
        left, right = drawing.axes
        _by_users(left, measured.cases, lambda run: run.requests_per_s)
        _by_users(right, measured.cases, lambda run: run.accepted_per_s)
        left.set_title("Requests (reads and bids)")
        right.set_title("Accepted bids")
        left.set_ylabel("requests/s")
        right.set_ylabel("accepted bids/s")
        drawing.legend(columns=4)
    best = max(
        measured.cases, key=lambda case: wording.middle(r.requests_per_s for r in case.runs) or 0
    )
    most = wording.whole(wording.middle(run.requests_per_s for run in best.runs))
    yield drawing.plot(
        title="Throughput by users and strategy",
        shows=f"Requests a second and accepted bids a second over the number of users, a line per "
        f"strategy. The most requests, {most}/s, came with {best.name}.",
        source=f"`{measured.results.name}/runs.csv`: requests / seconds and accepted / "
        "seconds, by users and strategy. A mark per run, lines through the medians.",
    )


def percentiles(measured: Measured) -> Iterator[Plot]:
    name = f"contention-latency{measured.results.suffix}"
    users = sorted({case.users for case in measured.cases})
    looks = _looks(measured.cases)
    curves = {
        (case.users, case.strategy): Latencies.merged(case.bids).curve() for case in measured.cases
    }
    if not any(curves.values()):
        return
    most = max(odds for curve in curves.values() for odds, _ in curve)
    lows = [max(curve[0][1], 1) / 1000 for curve in curves.values() if curve]
    highs = [max(curve[-1][1], 1) / 1000 for curve in curves.values() if curve]
    columns = 2 if len(users) in {2, 4} else min(len(users), _COLUMNS)
    rows = -(-len(users) // columns)
    with drawn(name, columns=columns, rows=rows, height_in=0.7 + 3.1 * rows) as drawing:
        for axes, number in zip(drawing.axes, users, strict=False):
            axes.set_title(f"{number:,} users")
            for strategy, look in looks.items():
                curve = curves.get((number, strategy), [])
                points = [(odds, max(latency, 1) / 1000) for odds, latency in curve]
                line(axes, points, look, strategy, marked=False)
            axes.set_ylim(min(lows) / 1.5, max(highs) * 1.5)
            log_scale(axes, "y")
            percentile_axis(axes, most)
            axes.set_ylabel("ms")
        for axes in drawing.axes[len(users) :]:
            axes.set_visible(False)
        drawing.legend(columns=4)
    yield drawing.plot(
        title="Latency of answered bids, by percentile",
        shows="Latency in milliseconds over the percentile, both on logarithmic axes, a "
        "panel per number of users and a line per strategy. The table below has the numbers.",
        source=f"`{measured.results.name}/{SAMPLES}`: latency_us where request is bid and "
        "outcome is accepted or refused, all runs of a case together.",
    )


def cpu(measured: Measured) -> Iterator[Plot]:
    runs = [run for case in measured.cases for run in case.runs]
    if all(run.api_us is None for run in runs):
        return
    name = f"contention-cpu{measured.results.suffix}"
    with drawn(name, columns=2, height_in=3.6) as drawing:
        left, right = drawing.axes
        _by_users(left, measured.cases, lambda run: run.api_us)
        _by_users(right, measured.cases, lambda run: run.redis_us)
        left.set_title("API gateways")
        right.set_title("Redis")
        left.set_ylabel("CPU µs/request")
        right.set_ylabel("CPU µs/request")
        drawing.legend(columns=4)
    yield drawing.plot(
        title="CPU time per request",
        shows="CPU microseconds of the gateways and of Redis per request, over the number of "
        "users, a line per strategy.",
        source=f"`{measured.results.name}/runs.csv`: api_cpu_s / server_requests and redis_cpu_s / "
        "server_requests. A mark per run, lines through the medians.",
    )


def _by_users(axes: Axes, cases: Sequence[Case], value: Callable[[Run], float | None]) -> None:
    for strategy, look in _looks(cases).items():
        theirs = [case for case in cases if case.strategy == strategy]
        points = [
            (case.users, each)
            for case in theirs
            for run in case.runs
            if (each := value(run)) is not None
        ]
        middles = [
            (case.users, middle)
            for case in theirs
            if (middle := wording.middle(value(run) for run in case.runs)) is not None
        ]
        line(axes, middles, look, strategy)
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=look.colour,
            linestyle="none",
            marker=look.marker,
            markersize=4,
            alpha=0.45,
        )
    categories(axes, sorted({case.users for case in cases}))
    axes.set_ylim(bottom=0)
    plain_numbers(axes.yaxis)
    axes.set_xlabel("users")


def _looks(cases: Sequence[Case]) -> dict[str, Look]:
    return dict(zip(sorted({case.strategy for case in cases}), LOOKS, strict=False))
