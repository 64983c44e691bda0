"""Raw results in, a document out."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from pkg.trials.report import comparison, findings, original, overview
from pkg.trials.report.comparison import Comparable
from pkg.trials.report.contention import measured as contention
from pkg.trials.report.contention.section import section as contention_section
from pkg.trials.report.document import Block, Document, Heading, Points, Warnings
from pkg.trials.report.fan_out import measured as fan_out
from pkg.trials.report.fan_out.section import section as fan_out_section
from pkg.trials.report.resilience import measured as resilience
from pkg.trials.report.resilience.section import section as resilience_section
from pkg.trials.report.results import EXPERIMENTS, Results

_READING = (
    (
        "A percentile is the smallest latency that at least that share of the samples does not "
        "exceed, over all raw samples; none is averaged or binned. Where no sample lies beyond it, "
        "there is a dash."
    ),
    (
        "Latencies of bids are those of answered ones, accepted or refused. Failed and unknown "
        "ones are counted beside them: an error is quick, and a time-out's length is the client's "
        "choice."
    ),
    "Rates and costs are medians of a case's runs, with the lowest and highest or a mark per run.",
    "A dash means not measured, never zero.",
)


def document(every: Sequence[Results]) -> Document:
    """Raises BadArgument for raw files that cannot be read. Needs matplotlib.

    Results of one experiment are in the order of time.
    """

    def those(experiment: str) -> list[Results]:
        return [each for each in every if each.about.experiment == experiment]

    bidding = [contention.measured(each) for each in those("contention")]
    viewing = [fan_out.measured(each) for each in those("fan-out")]
    failing = [resilience.measured(each) for each in those("resilience")]
    every_one: list[contention.Measured | fan_out.Measured | resilience.Measured]
    every_one = [*bidding, *viewing, *failing]
    groups = [
        [
            Comparable(one.results, one.metrics())
            for one in every_one
            if one.results.about.experiment == experiment
        ]
        for experiment in EXPERIMENTS
    ]
    leading = (_leading(bidding), _leading(viewing), _leading(failing))
    problems = [f"`{one.results.name}`: {problem}" for one in every_one for problem in one.problems]
    blocks: list[Block] = [
        Warnings(
            [
                *(text for each in every for text in overview.warnings(each)),
                *problems[:_MOST_PROBLEMS],
                *_further(len(problems) - _MOST_PROBLEMS),
                *(text for runs in groups for text in comparison.regressions(runs)),
            ]
        ),
        *findings.section(*leading),
        *(block for one in bidding for block in contention_section(one)),
        *comparison.section(groups[0]),
        *(block for one in viewing for block in fan_out_section(one)),
        *comparison.section(groups[1]),
        *(block for one in failing for block in resilience_section(one)),
        *comparison.section(groups[2]),
        *original.section(*leading),
        Heading("How to read this"),
        Points(_READING),
        *overview.section(every),
    ]
    return Document("What the experiments measured", blocks)


class _Measured(Protocol):
    @property
    def results(self) -> Results: ...


M = TypeVar("M", bound=_Measured)


def _leading(measured: Sequence[M]) -> M | None:
    return next((each for each in measured if not each.results.suffix), None)


_MOST_PROBLEMS = 12
"""At the top; each experiment's section has all of its own."""


def _further(number: int) -> list[str]:
    return [f"{number:,} further problems are told in their sections."] if number > 0 else []
