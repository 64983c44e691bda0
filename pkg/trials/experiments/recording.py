"""The raw files of one experiment: written while it runs, so that a broken-off one keeps them."""

import csv
import gzip
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec
import psutil

from pkg.devkit.settings import PROJECT
from pkg.trials.run_json import FORMAT, About, Experiment, Machine

UNENDED = "it still runs, or was killed"

Cell = str | int | float


def this_machine() -> Machine:
    return Machine(
        cores=psutil.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        cpu=_cpu(),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
    )


@dataclass
class Recording:
    """One folder of results. `run.json` says that it is incomplete until the block ends well."""

    folder: Path
    about: About
    runs: int = 0
    """Runs that have ended."""
    _files: dict[str, IO[str]] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        results: Path,
        name: Experiment,
        *,
        backend: str,
        quick: bool,
        settings: Mapping[str, object],
        command: str,
    ) -> Self:
        now = _now()
        commit, dirty = _commit()
        about = About(
            format=FORMAT,
            experiment=name,
            started=now,
            ended=None,
            complete=False,
            why_incomplete=UNENDED,
            backend=backend,
            quick=quick,
            commit=commit,
            dirty=dirty,
            machine=this_machine(),
            settings=dict(settings),
            command=command,
            notes=[],
        )
        return cls(_new_folder(results, f"{now:%Y%m%dT%H%M%SZ}-{name}"), about)

    def __enter__(self) -> Self:
        self._save()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        self.about.ended = _now()
        self.about.complete = kind is None
        self.about.why_incomplete = None if kind is None else why(error)
        self._save()

    def note(self, sentence: str) -> None:
        if sentence not in self.about.notes:
            self.about.notes.append(sentence)
            self._save()

    def ended(self, row: Mapping[str, Cell]) -> None:
        """Adds a run that has ended to `runs.csv`."""
        self._write("runs.csv", list(row), [list(row.values())])
        self.runs += 1

    def samples(self, file: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Adds rows to a compressed file."""
        self._write(file, head, rows)

    def append(self, file: str, head: Sequence[str], part: Path) -> None:
        """Adds the lines of a client's file, which it then deletes."""
        self._write(file, head, ())
        with part.open(encoding="utf-8") as lines:
            self._files[file].writelines(lines)
        self._files[file].flush()
        part.unlink()

    def _write(self, name: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        file = self._files.get(name)
        if file is None:
            path = self.folder / name
            compressed = name.endswith(".gz")
            file = (
                gzip.open(path, "wt", compresslevel=6, encoding="utf-8", newline="")  # noqa: SIM115 - closed with the block
                if compressed
                else path.open("w", encoding="utf-8", newline="")
            )
            self._files[name] = file
            csv.writer(file, lineterminator="\n").writerow(head)
        csv.writer(file, lineterminator="\n").writerows(rows)
        file.flush()

    def _save(self) -> None:
        writing = self.folder / ".run.json"
        writing.write_bytes(msgspec.json.format(msgspec.json.encode(self.about), indent=2) + b"\n")
        writing.replace(self.folder / "run.json")


def why(error: BaseException | None) -> str:
    """Why it broke off, in words."""
    if error is None or type(error).__name__ in {"CancelledError", "KeyboardInterrupt"}:
        return "it was interrupted"
    return str(error) or type(error).__name__


def _new_folder(results: Path, name: str) -> Path:
    """Makes the folder; a second one of the same second gets a number."""
    results.mkdir(parents=True, exist_ok=True)
    for number in range(1, 100):
        folder = results / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise FileExistsError(f"{results / name} and a hundred like it are there already")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _commit() -> tuple[str, bool]:
    """The commit, and whether files differ from it; without git, nothing is known."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ("git", *arguments), cwd=PROJECT, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "-uno"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
