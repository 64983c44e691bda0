"""The report's section on resilience."""

from collections.abc import Sequence

from pkg.trials.report import wording
from pkg.trials.report.document import Block, Heading, Table, Text, Warnings
from pkg.trials.report.latencies import PERCENTILES
from pkg.trials.report.resilience.measured import BIDS, OUTCOMES, Case, Measured


def section(measured: Measured) -> list[Block]:
    from pkg.trials.report.resilience import plots

    folder = measured.results.name
    opening: list[Block] = [
        Heading(f"Resilience: {folder}"),
        Text(
            "Bids arrive while one part of the system is stopped, killed, paused or cut off. A "
            "lost bid is one that was answered 201 and is in no store. Failed: answered with a "
            "documented 503, or no connection; nothing was written. Unknown: the bidder was not "
            "told."
        ),
        Warnings([*measured.notes, *measured.problems]),
    ]
    if not measured.cases:
        return [*opening, Text("No run of this experiment ended, so there is nothing to show.")]
    return [
        *opening,
        _outcomes(measured.cases, folder),
        _phases(measured.cases, folder),
        *(plots.timeline(measured, case) for case in measured.cases),
    ]


def _outcomes(cases: Sequence[Case], folder: str) -> Table:
    return Table(
        (
            *("target", "fault", "run", "fault s", *OUTCOMES, "lost", "archived late", "drain s"),
            *("deepest outbox", "viewers' gaps", "audit"),
        ),
        [
            (
                case.run.target,
                case.run.fault,
                case.run.run,
                wording.figures(case.run.fault_to_s - case.run.fault_from_s),
                *(wording.whole(getattr(case.run, what)) for what in OUTCOMES),
                wording.whole(case.run.lost),
                wording.whole(case.run.archived_late),
                wording.figures(case.run.drain_s),
                wording.whole(max((waiting for _, waiting, _ in case.depth), default=None)),
                wording.whole(case.run.viewer_gaps),
                case.run.audit,
            )
            for case in cases
        ],
        f"`{folder}/runs.csv`: fault_to_s - fault_from_s, accepted, refused, failed, unknown, "
        f"lost, archived_late, drain_s, viewer_gaps, audit; `{folder}/depth.csv.gz`: the highest "
        "outbox_depth.",
        words=2,
        last_is_words=True,
    )


def _phases(cases: Sequence[Case], folder: str) -> Table:
    heads = (f"p{share * 100:g} ms" for share in PERCENTILES)
    return Table(
        (
            "target",
            "fault",
            "phase",
            "seconds",
            "accepted/s",
            "failed",
            "unknown",
            *heads,
            "highest ms",
        ),
        [
            (
                case.run.target,
                case.run.fault,
                phase,
                wording.figures(span.seconds),
                wording.figures(span.accepted_per_s),
                wording.whole(span.outcomes["failed"]),
                wording.whole(span.outcomes["unknown"]),
                *(wording.ms(span.answered.at(share)) for share in PERCENTILES),
                wording.ms(span.answered.highest_at(1)),
            )
            for case in cases
            for phase, span in case.phases.items()
        ],
        f"`{folder}/{BIDS}`: rows by outcome, and latency_us where outcome is accepted or "
        "refused, by at_s between the phase's bounds of `runs.csv` (baseline_from_s, "
        "fault_from_s, fault_to_s, recovery_to_s). Percentiles by nearest rank; a dash where no "
        "sample lies beyond.",
        words=3,
    )
