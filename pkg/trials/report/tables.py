"""Reading raw CSV files, which may be large, or broken off with their run."""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

import msgspec

from pkg.devkit.errors import BadArgument
from pkg.trials.report.results import Results

if TYPE_CHECKING:
    from _csv import Reader

Row = TypeVar("Row", bound=msgspec.Struct)


# msgspec's ValidationError is a ValueError.
_UNREADABLE = (ValueError, IndexError, csv.Error, EOFError, gzip.BadGzipFile, zlib.error)


@dataclass(slots=True)
class Table:
    """Rows of some columns, in the order that was asked for, as text."""

    _lines: "Reader"
    _cells: Callable[[list[str]], tuple[str, ...]]
    broken: str | None = None
    """Why reading ended early; only in results that are incomplete."""

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        # Files have millions of lines: no bytecode runs for one.
        return map(self._cells, self._lines)

    @property
    def line(self) -> int:
        """The number of the line last read, from 1."""
        return self._lines.line_num


@contextmanager
def table(results: Results, name: str, columns: Sequence[str]) -> Iterator[Table]:
    """Opens a raw file, compressed if it ends in .gz.

    Raises BadArgument if the file or a column is missing, and for a line that cannot be read,
    whether it or its caller found that. A file of an incomplete run may end anywhere, or not have
    been begun: there, a broken line ends the block, and `broken` says so.
    """
    file = results.folder / name
    reading: Table | None = None
    if not results.about.complete and not file.exists():
        yield Table(csv.reader(()), tuple, f"{name} was not begun.")
        return
    try:
        opener = gzip.open if name.endswith(".gz") else open
        with opener(file, "rt", encoding="utf-8", newline="") as text:
            lines = csv.reader(text)
            header = next(lines, [])
            if missing := [column for column in columns if column not in header]:
                raise BadArgument(f"{file} has no column {missing[0]!r}.")
            places = [header.index(column) for column in columns]
            reading = Table(lines, itemgetter(*places))
            yield reading
    except FileNotFoundError:
        raise BadArgument(f"{results.folder} has no {name}.") from None
    except _UNREADABLE as error:
        where = f"line {reading.line}" if reading else "its first line"
        if results.about.complete or reading is None:
            raise BadArgument(f"{file} cannot be read at {where}: {_why(error)}.") from error
        reading.broken = f"{name} breaks off at {where}; what follows is left out."


def rows(results: Results, name: str, kind: type[Row]) -> tuple[list[Row], str | None]:
    """The rows of a small file, and why it ends early, if it does.

    The fields of ``kind`` are the columns. An empty cell is None.
    """
    columns = kind.__struct_fields__
    found: list[Row] = []
    with table(results, name, columns) as reading:
        for cells in reading:
            values = {
                column: cell if cell != "" else None
                for column, cell in zip(columns, cells, strict=True)
            }
            found.append(msgspec.convert(values, type=kind, strict=False))
    return found, reading.broken


def _why(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the file ends in the middle"
    if isinstance(error, IndexError):
        return "it has too few cells"
    return str(error)
