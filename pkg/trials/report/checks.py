"""Whether raw files agree with one another, in sentences for the report's readers."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from pkg.trials.report.wording import counted, listed


def left_out(samples: Mapping[str, int], ended: Collection[str], *, name: str) -> list[str]:
    """Samples of runs that did not end: kept in the file, but in no figure."""
    strays = {run: count for run, count in samples.items() if run not in ended}
    if not strays:
        return []
    return [
        (
            f"`{name}`: {counted(sum(strays.values()), 'row')} of {counted(len(strays), 'run')} "
            f"that did not end ({listed(sorted(strays, key=_natural))}) are in no figure."
        )
    ]


def disagreements(
    stated: Iterable[tuple[str, str, int]], found: Mapping[tuple[str, str], int], *, name: str
) -> list[str]:
    """``stated`` are (run, what, number) of runs.csv; ``found`` counts rows of the samples."""
    return [
        f"Run {run}: `runs.csv` says {number:,} {what}, but `{name}` holds "
        f"{found.get((run, what), 0):,}."
        for run, what, number in stated
        if found.get((run, what), 0) != number
    ]


def audits(runs: Iterable[tuple[str, str]]) -> list[str]:
    return [f"Run {run}: the audit says: {audit}" for run, audit in runs if audit != "ok"]


def audit_cell(audits_of_runs: Sequence[str]) -> str:
    """`ok`, or how many runs' audits were not."""
    bad = sum(audit != "ok" for audit in audits_of_runs)
    return f"{bad} of {len(audits_of_runs)} fail" if bad else "ok"


def _natural(run: str) -> tuple[int, str]:
    return (int(run), "") if run.isdigit() else (0, run)
