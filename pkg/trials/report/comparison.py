"""Runs of the same experiment beside one another: the newest against each earlier one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

from pkg.trials.report import wording
from pkg.trials.report.document import Block, Heading, Table, Text, Warnings
from pkg.trials.report.noise import RULE, Change, compare
from pkg.trials.report.results import Results

_MARKS = {"worse": "▼ worse", "better": "▲ better"}


@dataclass(frozen=True, slots=True)
class Metric:
    """One quantity of a run, by what was varied and then by repetition."""

    name: str
    better: Literal["higher", "lower"]
    source: str
    values: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class Comparable:
    results: Results
    metrics: Sequence[Metric]


def section(runs: Sequence[Comparable]) -> list[Block]:
    """Empty if there is nothing to compare. ``runs`` are in the order of time."""
    if len(runs) < 2:  # noqa: PLR2004 - one run has no other beside it
        return []
    *earlier, latest = runs
    blocks: list[Block] = [
        Heading(f"Runs of {latest.results.about.experiment} compared", 3),
        Text(RULE),
    ]
    for before in earlier:
        blocks += _against(before, latest)
    return blocks


def differences(before: Results, after: Results) -> tuple[list[str], bool]:
    """What else differs between two runs, and whether they are alike enough to judge."""
    one, other = before.about, after.about
    serious = {
        "backend": (one.backend, other.backend),
        "cores": (one.machine.cores, other.machine.cores),
        "memory": (
            wording.size(one.machine.memory_bytes),
            wording.size(other.machine.memory_bytes),
        ),
        "CPU": (one.machine.cpu, other.machine.cpu),
        "quick": (one.quick, other.quick),
    }
    lesser = {
        "kernel": (one.machine.kernel, other.machine.kernel),
        "Python": (one.machine.python, other.machine.python),
        **{
            f"setting `{name}`": (one.settings.get(name), other.settings.get(name))
            for name in sorted({*one.settings, *other.settings})
        },
    }
    said = [
        f"{what}: {first}, then {second}"
        for what, (first, second) in {**serious, **lesser}.items()
        if first != second
    ]
    return said, all(first == second for first, second in serious.values())


def regressions(runs: Sequence[Comparable]) -> list[str]:
    """Sentences for the top of the report: what got worse from the last but one run to the last."""
    if len(runs) < 2:  # noqa: PLR2004
        return []
    before, after = runs[-2:]
    changes = _changes(before, after)
    said = []
    for metric in after.metrics:
        theirs = [(case, change) for of, case, _, _, change in changes if of is metric]
        worse = [(case, change) for case, change in theirs if change.verdict == "worse"]
        if worse:
            case, most = max(worse, key=lambda each: abs(log(each[1].ratio or 1)))
            said.append(
                f"{metric.name}: worse beyond noise than in `{before.results.name}` in "
                f"{len(worse)} of {wording.counted(len(theirs), 'case')}; most with {case}: ratio "
                f"{_ratio(most)} (99 % interval {_interval(most)})."
            )
    return said


def _against(before: Comparable, after: Comparable) -> list[Block]:
    said, _ = differences(before.results, after.results)
    rows = [
        (
            metric.name,
            case,
            wording.figures(wording.middle(one)),
            wording.figures(wording.middle(other)),
            _ratio(change),
            _interval(change),
            f"{_measured(one)}; {_measured(other)}",
            _MARKS.get(change.verdict, change.verdict),
        )
        for metric, case, one, other, change in _changes(before, after)
    ]
    missing = Text(
        f"`{before.results.name}` (earlier) and `{after.results.name}` (later) have no case in "
        "common."
    )
    sources = "; ".join(f"{metric.name}: {metric.source}" for metric in after.metrics)
    heads = (
        "metric",
        "case",
        "earlier",
        "later",
        "ratio",
        "99 % interval",
        "repetitions",
        "verdict",
    )
    return [
        Text(
            f"Earlier: `{before.results.name}`, commit `{before.results.about.commit}`. Later: "
            f"`{after.results.name}`, commit `{after.results.about.commit}`. Earlier and later are "
            "medians of the repetitions."
        ),
        Warnings(
            [f"The two runs differ in more than the code: {'; '.join(said)}."] if said else []
        ),
        Table(heads, rows, f"both folders' raw files. {sources}.", words=2, last_is_words=True)
        if rows
        else missing,
    ]


def _changes(
    before: Comparable, after: Comparable
) -> list[tuple[Metric, str, Sequence[float | None], Sequence[float | None], Change]]:
    _, alike = differences(before.results, after.results)
    old = {metric.name: metric for metric in before.metrics}
    return [
        (
            metric,
            case,
            old[metric.name].values[case],
            values,
            compare(old[metric.name].values[case], values, better=metric.better, alike=alike),
        )
        for metric in after.metrics
        if metric.name in old
        for case, values in metric.values.items()
        if case in old[metric.name].values
    ]


def _measured(values: Sequence[float | None]) -> int:
    return sum(value is not None for value in values)


def _ratio(change: Change) -> str:
    return wording.DASH if change.ratio is None else f"{change.ratio:.2f}"


def _interval(change: Change) -> str:
    if change.interval is None:
        return wording.DASH
    low, high = change.interval
    return f"{_bound(low)} to {_bound(high)}"


def _bound(value: float) -> str:
    """With two repetitions an interval may span many powers of ten."""
    return f"{value:.2f}" if 0.01 <= value < 100 else f"{value:.1e}"  # noqa: PLR2004
