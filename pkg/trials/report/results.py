"""A folder of raw results: what its run.json says, and which folders a report is made from."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pkg.devkit.errors import BadArgument
from pkg.trials.run_json import FORMAT, About, Experiment

RUN_JSON = "run.json"
EXPERIMENTS: tuple[Experiment, ...] = ("contention", "fan-out", "resilience")
_NAME = re.compile(rf"\d{{8}}T\d{{6}}Z-({'|'.join(EXPERIMENTS)})(-\d+)?")


@dataclass(frozen=True, slots=True)
class RawFile:
    """A raw file as it was read, so that a figure can be traced to these very bytes."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Results:
    folder: Path
    about: About
    suffix: str = ""
    """For names of plots. Empty for an experiment's leading results, so that these names stay."""

    @property
    def name(self) -> str:
        return self.folder.name

    def raw_files(self) -> list[RawFile]:
        return [
            RawFile(file.name, file.stat().st_size, _sha256(file))
            for file in sorted(self.folder.iterdir())
            if file.name == RUN_JSON or file.name.endswith((".csv", ".csv.gz"))
        ]


def opened(folder: Path) -> Results:
    """Raises BadArgument for what is no folder of results."""
    folder = folder.resolve()
    file = folder / RUN_JSON
    if not folder.is_dir():
        raise BadArgument(f"{folder} is not a folder; name folders such as results/…-contention.")
    try:
        about = msgspec.json.decode(file.read_bytes(), type=About)
    except FileNotFoundError:
        raise BadArgument(f"{folder} holds no results: it has no run.json.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadArgument(f"{file} is not as an experiment writes it: {error}.") from error
    if about.format != FORMAT:
        raise BadArgument(f"{file} has format {about.format}; this report reads format {FORMAT}.")
    if about.started.tzinfo is None or (about.ended and about.ended.tzinfo is None):
        raise BadArgument(f"{file} has a time without an offset from UTC.")
    return Results(folder, about)


def newest(parent: Path) -> tuple[list[Results], list[str]]:
    """The newest complete results of each experiment, and a sentence for each passed over.

    Raises BadArgument if there are none.
    """
    folders = sorted(parent.iterdir(), reverse=True) if parent.is_dir() else []
    chosen: list[Results] = []
    passed_over: list[str] = []
    for experiment in EXPERIMENTS:
        for folder in folders:
            named = _NAME.fullmatch(folder.name)
            if not named or named[1] != experiment or not folder.is_dir():
                continue
            try:
                results = opened(folder)
            except BadArgument as error:
                passed_over.append(f"{folder.name} was passed over: {error}")
                continue
            if results.about.complete:
                chosen.append(results)
                break
            passed_over.append(
                f"{folder.name} was passed over, as it is incomplete; name it to include it."
            )
    if not chosen:
        raise BadArgument(
            f"{parent} holds no complete results; run `bidkit experiment all`, or name folders."
        )
    return chosen, passed_over


def named(folders: Sequence[Path]) -> list[Results]:
    """Those results, by experiment and time. A folder named twice counts once.

    An experiment's newest full run leads: the report's first table tells it. Without a full one,
    the newest quick run does.
    """
    every = {folder.resolve(): opened(folder) for folder in folders}.values()
    ordered = []
    for experiment in EXPERIMENTS:
        theirs = [each for each in every if each.about.experiment == experiment]
        theirs.sort(key=lambda each: (each.about.started, each.name))
        leading = ([each for each in theirs if not each.about.quick] or theirs)[-1:]
        numbers = itertools.count(1)
        ordered += [
            each if each in leading else replace(each, suffix=f"-{next(numbers)}")
            for each in theirs
        ]
    return ordered


def _sha256(file: Path) -> str:
    with file.open("rb") as opened_file:
        return hashlib.file_digest(opened_file, "sha256").hexdigest()
