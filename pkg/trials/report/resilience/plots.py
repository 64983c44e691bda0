"""Plots of resilience. Needs matplotlib."""

import re

from matplotlib.axes import Axes

from pkg.trials.report.document import Plot
from pkg.trials.report.drawing import (
    BAND,
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    drawn,
    log_scale,
    plain_numbers,
)
from pkg.trials.report.resilience.measured import BIDS, DEPTH, Case, Measured


def timeline(measured: Measured, case: Case) -> Plot:
    """Bids a second, their 99th percentile and the outbox over time, with the fault as a band."""
    run = case.run
    words = re.sub(r"[^a-z0-9]+", "-", f"{run.target}-{run.fault}-{run.run}".lower()).strip("-")
    with drawn(f"resilience-{words}{measured.results.suffix}", rows=3, height_in=6.4) as drawing:
        rates, latencies, depth = drawing.axes
        _rates(rates, case)
        _latencies(latencies, case)
        _depth(depth, case)
        for axes in drawing.axes:
            axes.axvspan(run.fault_from_s, run.fault_to_s, color=BAND, lw=0, zorder=0)
            axes.axvline(run.fault_from_s, color=BLACK, lw=0.8, ls=":")
            axes.axvline(run.fault_to_s, color=BLACK, lw=0.8, ls=":")
            axes.set_xlim(0, run.recovery_to_s)
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        for axes in (rates, latencies):
            axes.tick_params(labelbottom=False)
        depth.set_xlabel("seconds since the run's begin")
        rates.text(
            run.fault_from_s,
            1.02,
            f" {run.target}: {run.fault}",
            transform=rates.get_xaxis_transform(),
            fontsize=10,
            va="bottom",
        )
    return drawing.plot(
        title=f"{run.target}, {run.fault} (run {run.run}): bids and outbox over time",
        shows="Three panels over the seconds of the run: bids a second by outcome, the 99th "
        "percentile of answered bids' latency, and the depth of the outbox. The fault lasts from "
        f"second {run.fault_from_s:.0f} to second {run.fault_to_s:.0f}; {run.lost:,} accepted "
        "bids were lost.",
        source=f"`{measured.results.name}/{BIDS}` where run is {run.run}: rows a second of "
        "at_s, by outcome, and the p99 of latency_us where outcome is accepted or refused (the "
        f"highest, where a second has too few); `{measured.results.name}/{DEPTH}` where run is "
        f"{run.run}: outbox_depth and unarchived; band: fault_from_s to fault_to_s of "
        f"`{measured.results.name}/runs.csv`.",
    )


def _rates(axes: Axes, case: Case) -> None:
    seconds = [second + 0.5 for second in case.seconds]
    counts = [span.outcomes for span in case.seconds.values()]
    accepted = [count["accepted"] for count in counts]
    refused = [count["refused"] for count in counts]
    neither = [count["failed"] + count["unknown"] for count in counts]
    axes.plot(seconds, accepted, color=BLUE, ds="steps-mid", label="accepted")
    if any(refused):
        axes.plot(seconds, refused, color=GREEN, ls="-.", ds="steps-mid", label="refused")
    if any(neither):
        label = "failed or\nunknown"
        axes.plot(seconds, neither, color=ORANGE, ls="--", ds="steps-mid", label=label)
    axes.set_ylim(bottom=0)
    plain_numbers(axes.yaxis)
    axes.set_ylabel("bids/s")


def _latencies(axes: Axes, case: Case) -> None:
    points = [
        (second + 0.5, highest / 1000)
        for second, span in case.seconds.items()
        if (highest := span.answered.highest_at(0.99)) is not None and highest > 0
    ]
    # A second without an answer has no latency: the line breaks there.
    times = [second + 0.5 for second in case.seconds]
    known = dict(points)
    values = [known.get(time, float("nan")) for time in times]
    axes.plot(times, values, color=BLUE, marker=".", markersize=4, label="p99 of\nanswered")
    if points:
        latencies = [latency for _, latency in points]
        axes.set_ylim(min(latencies) / 1.6, max(latencies) * 1.6)
        log_scale(axes, "y")
    axes.set_ylabel("ms")


def _depth(axes: Axes, case: Case) -> None:
    times = [at_s for at_s, _, _ in case.depth]
    outbox = [waiting for _, waiting, _ in case.depth]
    unarchived = [left for _, _, left in case.depth]
    axes.plot(times, outbox, color=PURPLE, label="in the\noutbox")
    axes.plot(times, unarchived, color=BLACK, ls="--", lw=1.3, label="not yet\narchived")
    axes.set_ylim(bottom=0)
    plain_numbers(axes.yaxis)
    axes.set_ylabel("bids")
