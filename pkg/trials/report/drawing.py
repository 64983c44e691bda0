"""How all plots look, and their rendering to SVG. Needs matplotlib.

The same data give the same bytes: no date, and ids that depend on the plot's name alone.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pkg.trials.report.document import Plot

WIDTH_IN = 11.0

# Okabe and Ito's colours, which the colour-blind can tell apart. Each series also has a marker or
# dash of its own, so that a print without colours can be read.
BLUE, ORANGE, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#007A5A", "#A0527D", "#222222"
GREY, BAND = "#6b6b6b", "#F3DDB3"


@dataclass(frozen=True, slots=True)
class Look:
    colour: str
    marker: str
    dash: str | tuple[float, Sequence[float]] = "-"


LOOKS = (
    Look(BLUE, "o"),
    Look(ORANGE, "s", "--"),
    Look(GREEN, "^", "-."),
    Look(PURPLE, "D", ":"),
    Look(BLACK, "v", (0, (5, 1, 1, 1, 1, 1))),
    Look(GREY, "P", (0, (1, 1))),
)

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}


@contextmanager
def drawn(
    name: str, *, columns: int = 1, rows: int = 1, height_in: float = 4.0
) -> "Iterator[Drawing]":
    """A figure with axes in ``rows`` and ``columns``; ``svg`` holds it after the block."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH_IN, height_in))
        grid = figure.subplots(rows, columns, squeeze=False)
        drawing = Drawing(name, figure, [axes for line in grid for axes in line])
        yield drawing
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
        drawing.svg = target.getvalue()


@dataclass(slots=True)
class Drawing:
    name: str
    figure: Figure
    axes: list[Axes]
    svg: str = ""

    def legend(self, *, columns: int) -> None:
        """One for all axes, above them, with every label once."""
        seen: dict[str, Artist] = {}
        for axes in self.axes:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                seen.setdefault(label, handle)
        self.figure.legend(
            list(seen.values()),
            list(seen),
            loc="outside upper left",
            ncols=min(columns, len(seen) or 1),
        )

    def plot(self, *, title: str, shows: str, source: str) -> Plot:
        return Plot(self.name, title, shows, source, self.svg)


def line(
    axes: Axes,
    points: Iterable[tuple[float, float]],
    look: Look,
    label: str,
    *,
    marked: bool = True,
) -> None:
    """Through the points, each with a mark unless there are too many."""
    xs, ys = zip(*points, strict=True) if (points := list(points)) else ((), ())
    axes.plot(
        xs,
        ys,
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker if marked else "",
        label=label,
    )


def plain(value: float, _: object = None) -> str:
    """1,000 and 0.5 in place of powers of ten."""
    return f"{value:,.0f}" if abs(value) >= 1 or value == 0 else f"{value:g}"


def plain_numbers(axis: Axis) -> None:
    axis.set_major_formatter(FuncFormatter(plain))


def log_scale(axes: Axes, which: str) -> None:
    """A logarithmic axis with plain numbers, and more of them on a short one."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    short = high / max(low, 1e-12) < 1000  # noqa: PLR2004 - under three decades
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if short else (1.0,), numticks=12))
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_formatter(NullFormatter())


def categories(axes: Axes, values: "list[int]") -> None:
    """Marks just the measured values on a logarithmic x axis."""
    axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:,}" for value in values])
    axes.set_xticks([], minor=True)
    axes.set_xlim(min(values) / 1.3, max(values) * 1.3)


def percentile_axis(axes: Axes, most: float) -> None:
    """Of 1 / (1 - share), so that each further nine takes the same room."""
    marks = [
        (2.0, "50"),
        (10.0, "90"),
        (100.0, "99"),
        (1e3, "99.9"),
        (1e4, "99.99"),
        (1e5, "99.999"),
    ]
    shown = [(place, label) for place, label in marks if place <= most * 1.05]
    axes.set_xscale("log")
    axes.set_xticks([place for place, _ in shown], [label for _, label in shown])
    axes.set_xticks([], minor=True)
    axes.set_xlim(1.9, max(most * 1.1, 12))
    axes.set_xlabel("percentile")
