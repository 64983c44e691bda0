"""Plots of fan-out. Needs matplotlib."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from matplotlib.axes import Axes

from pkg.trials.report import wording
from pkg.trials.report.document import Plot
from pkg.trials.report.drawing import (
    BLUE,
    LOOKS,
    ORANGE,
    Drawing,
    Look,
    categories,
    drawn,
    line,
    log_scale,
    percentile_axis,
    plain_numbers,
)
from pkg.trials.report.fan_out.measured import DELIVERIES, EVENTS, Case, Measured, Run
from pkg.trials.report.latencies import Latencies

_COLUMNS = 2
# Colours tell whose latency it is, marks and dashes which percentile.
_LINES = (
    ("any viewer, p50", 0.5, "swift", Look(BLUE, "o")),
    ("any viewer, p99", 0.99, "swift", Look(BLUE, "^", "--")),
    ("last viewer, p50", 0.5, "last", Look(ORANGE, "s")),
    ("last viewer, p99", 0.99, "last", Look(ORANGE, "D", "--")),
)


def by_viewers(measured: Measured) -> Iterator[Plot]:
    name = f"fan-out-latency{measured.results.suffix}"
    with _panels(name, measured) as drawing:
        for axes, scenario in zip(drawing.axes, measured.scenarios, strict=False):
            cases = [case for case in measured.cases if case.scenario == scenario]
            axes.set_title(scenario.name)
            for label, share, whose, look in _LINES:
                points = [
                    (case.viewers, latency / 1000)
                    for case in cases
                    if (latency := _merged(case, whose).at(share)) is not None and latency > 0
                ]
                if points:  # else there were too few events for this percentile
                    line(axes, points, look, label)
            categories(axes, sorted({case.viewers for case in measured.cases}))
            axes.set_xlabel("viewers")
            axes.set_ylabel("ms")
        _same_heights(drawing, len(measured.scenarios))
        drawing.legend(columns=4)
    yield drawing.plot(
        title="Latency from bid to viewer, by viewers",
        shows="Median and 99th percentile of the latency of all deliveries and of each "
        "event's last viewer, over the number of viewers, on logarithmic axes; a panel per "
        "scenario.",
        source=f"`{measured.results.name}/{DELIVERIES}`: latency_us where slow is 0 (any "
        f"viewer); `{measured.results.name}/{EVENTS}`: last_viewer_latency_us (last viewer); all "
        "runs of a case together.",
    )


def percentiles(measured: Measured) -> Iterator[Plot]:
    name = f"fan-out-percentiles{measured.results.suffix}"
    curves = {
        (case.scenario, case.viewers): [
            (odds, latency / 1000)
            for odds, latency in _merged(case, "swift").curve()
            if latency > 0
        ]
        for case in measured.cases
    }
    if not any(curves.values()):
        return
    most = max(odds for curve in curves.values() for odds, _ in curve)
    viewers = sorted({case.viewers for case in measured.cases})
    with _panels(name, measured) as drawing:
        for axes, scenario in zip(drawing.axes, measured.scenarios, strict=False):
            axes.set_title(scenario.name)
            for place, number in enumerate(viewers):
                look = LOOKS[place % len(LOOKS)]
                curve = curves.get((scenario, number), [])
                line(axes, curve, look, f"{number:,} viewers", marked=False)
            percentile_axis(axes, most)
            axes.set_ylabel("ms")
        _same_heights(drawing, len(measured.scenarios))
        drawing.legend(columns=6)
    yield drawing.plot(
        title="Latency of deliveries, by percentile",
        shows="Latency in milliseconds over the percentile, both on logarithmic axes, a "
        "panel per scenario and a line per number of viewers.",
        source=f"`{measured.results.name}/{DELIVERIES}`: latency_us where slow is 0, all runs "
        "of a case together.",
    )


def costs(measured: Measured) -> Iterator[Plot]:
    runs = [run for case in measured.cases for run in case.runs]
    if all(run.cpu_us is None and run.memory_per_connection_bytes is None for run in runs):
        return
    name = f"fan-out-costs{measured.results.suffix}"
    with drawn(name, columns=2, height_in=3.8) as drawing:
        left, right = drawing.axes
        _by_scenario(left, measured, lambda run: run.cpu_us)
        _by_scenario(right, measured, _kilobytes)
        left.set_title("Broadcaster CPU")
        right.set_title("Broadcaster memory")
        left.set_ylabel("CPU µs/delivery")
        right.set_ylabel("KB/connection")
        drawing.legend(columns=2)
    yield drawing.plot(
        title="What a delivery and a connection cost",
        shows="CPU microseconds of the broadcasters per delivery, and their memory per "
        "connection in kilobytes, over the number of viewers; a line per scenario.",
        source=f"`{measured.results.name}/runs.csv`: broadcaster_cpu_s / delivered and "
        "memory_per_connection_bytes; medians of the runs.",
    )


def _by_scenario(axes: Axes, measured: Measured, value: Callable[[Run], float | None]) -> None:
    for place, scenario in enumerate(measured.scenarios):
        look = LOOKS[place % len(LOOKS)]
        middles = [
            (case.viewers, middle)
            for case in measured.cases
            if case.scenario == scenario
            and (middle := wording.middle(value(run) for run in case.runs)) is not None
        ]
        line(axes, middles, look, scenario.name)
    categories(axes, sorted({case.viewers for case in measured.cases}))
    axes.set_ylim(bottom=0)
    plain_numbers(axes.yaxis)
    axes.set_xlabel("viewers")


def _panels(name: str, measured: Measured) -> AbstractContextManager[Drawing]:
    number = len(measured.scenarios)
    rows = -(-number // _COLUMNS)
    return drawn(name, columns=min(number, _COLUMNS), rows=rows, height_in=0.7 + 3.4 * rows)


def _same_heights(drawing: Drawing, used: int) -> None:
    """Panels can be compared by eye only if their scales are the same."""
    shown = drawing.axes[:used]
    low = min(axes.dataLim.minposy for axes in shown)
    high = max(axes.dataLim.y1 for axes in shown)
    for axes in shown:
        if high > 0:
            axes.set_ylim(low / 1.5, high * 1.5)
        log_scale(axes, "y")
    for axes in drawing.axes[used:]:
        axes.set_visible(False)


def _merged(case: Case, whose: str) -> Latencies:
    return Latencies.merged(case.last if whose == "last" else case.swift)


def _kilobytes(run: Run) -> float | None:
    each = run.memory_per_connection_bytes
    return None if each is None else each / 1000
