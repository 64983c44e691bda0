"""Small copies of raw results, which a repository can hold: a report's figures are traced to them.

A copy is as good as the original for a report: samples without what it does not read, sorted, with
latencies rounded to three digits. Everything else is copied as it is.
"""

import gzip
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from pkg.devkit.errors import BadArgument
from pkg.trials.report.contention.measured import SAMPLES
from pkg.trials.report.fan_out.measured import DELIVERIES
from pkg.trials.report.resilience.measured import BIDS
from pkg.trials.report.results import RUN_JSON, Results
from pkg.trials.report.tables import table

_DIGITS = 3
_READ = {
    SAMPLES: ("run", "request", "outcome", "latency_us"),
    DELIVERIES: ("run", "slow", "latency_us"),
    BIDS: ("run", "at_s", "outcome", "latency_us"),
}
"""The columns that a report reads of the large files. The last one is rounded."""


def kept(results: Results, folder: Path) -> Results:
    """Results whose raw files are copies, in a folder of the same name in `folder`.

    Copies that are there already are taken as they are. Raises BadArgument for incomplete results.
    """
    copy = folder.resolve() / results.name
    if results.folder == copy:
        return results
    if not results.about.complete:
        raise BadArgument(f"{results.folder} is incomplete; keep results that are complete.")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    notes = []
    for file in results.raw_files():
        if columns := _READ.get(file.name):
            _condense(results, file.name, columns, copy / file.name)
            notes.append(
                f"{file.name} is a copy of {', '.join(columns)}, sorted, with latencies of "
                f"{_DIGITS} digits; the original's SHA-256 is {file.sha256}"
            )
        elif file.name != RUN_JSON:
            shutil.copyfile(results.folder / file.name, copy / file.name)
    about = msgspec.structs.replace(results.about, notes=[*results.about.notes, *notes])
    (copy / RUN_JSON).write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=2))
    return replace(results, folder=copy, about=about)


def _condense(results: Results, name: str, columns: tuple[str, ...], copy: Path) -> None:
    counts: Counter[tuple[str, ...]] = Counter()
    with table(results, name, columns) as samples:
        counts.update(samples)
    rounded: Counter[tuple[str, ...]] = Counter()
    for (*others, latency), count in counts.items():
        rounded[*others, _rounded(int(latency))] += count
    with gzip.GzipFile(copy, "wb", mtime=0) as writing:  # the same samples give the same bytes
        writing.write(_line(columns))
        for cells in sorted(rounded, key=_order):
            writing.write(_line(cells) * rounded[cells])


def _rounded(microseconds: int) -> str:
    return f"{float(f'{microseconds:.{_DIGITS - 1}e}'):.0f}"


def _order(cells: tuple[str, ...]) -> tuple[tuple[float, str], ...]:
    """Numbers by their value."""
    return tuple(
        (float(cell), "") if cell.replace(".", "").lstrip("-").isdigit() else (0.0, cell)
        for cell in cells
    )


def _line(cells: Iterable[str]) -> bytes:
    return f"{','.join(cells)}\n".encode()
