"""`bidkit test`: runs tox environments one by one and gives one verdict over all of them."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pkg.devkit import views
from pkg.devkit.doctor import Finding, docker, terraform
from pkg.devkit.errors import BadArgument
from pkg.devkit.settings import PROJECT


@dataclass(frozen=True, slots=True)
class Environment:
    """One of tox.ini. ``tests`` is the folder that its pytest runs, if it runs pytest."""

    name: str
    tests: str | None = None
    needs: str | None = None
    """A key of ENGINES. Such an environment runs only by `--all`, or when a path asks for it."""
    takes_long: bool = False
    """Likewise."""
    repeats: str | None = None
    """An environment with the same tests. By `--all` that one need not run where this one can;
    arguments for pytest skip this one."""


ENVIRONMENTS = (
    Environment("lint"),
    Environment("types"),
    Environment("unit", "tests/unit"),
    Environment("terraform", "tests/terraform", needs="terraform"),
    Environment("integration", "tests/integration"),
    Environment("devkit", "tests/integration/devkit"),
    Environment("experiments", "tests/integration/trials/experiments", takes_long=True),
    Environment("load", "tests/integration/load", takes_long=True),
    Environment("report", "tests/integration/trials/report", takes_long=True),
    Environment("faults", "tests/integration/trials/faults", takes_long=True),
    Environment("containers", "tests/integration", needs="docker", repeats="integration"),
    Environment("compose", "tests/integration/compose", needs="docker"),
    Environment("faults-compose", "tests/integration/trials/faults_compose", needs="docker"),
    Environment("cloud", "tests/integration/cloud", needs="docker"),
)

ENGINES: dict[str, Callable[[], Finding]] = {"docker": docker, "terraform": terraform}

PYTEST_SELECTED_NOTHING = 5
"""pytest's own exit code for it."""

_COLOURS = {"passed": "green", "failed": "red"}


_SHOWN = 300
"""Characters of a failure's message."""

_NAMED_SKIPS = 5
"""So many with the same reason are named; of more, only their number is given."""


class Skip(NamedTuple):
    environment: str
    test: str
    reason: str


class Failure(NamedTuple):
    environment: str
    test: str
    message: str
    """Its first line."""


class Report(NamedTuple):
    """What a JUnit report says. No counts when pytest did not get to write it."""

    counts: Counter[str] | None = None
    skips: tuple[Skip, ...] = ()
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    environment: str
    outcome: str
    """passed, failed, skipped, nothing selected, or `in` the environment that has its tests."""
    counts: Counter[str] = field(default_factory=Counter)
    """Tests by what became of them: passed, failed, skipped, error."""
    skips: tuple[Skip, ...] = ()
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0


def run(
    console: Console,
    *,
    results: Path,
    required: frozenset[str],
    everything: bool,
    arguments: Sequence[str],
) -> int:
    """The exit code. ``required`` names engines whose absence may skip nothing.

    Arguments for pytest limit the run to environments that use pytest. A path also runs its
    environment if that takes long. Raises BadArgument for a path outside all of them.
    """
    began = time.monotonic()
    elsewhere = repeated(ENGINES) if everything and not arguments else {}
    done = [
        Result(environment.name, f"in {elsewhere[environment.name]}")
        if environment.name in elsewhere
        else _skip_or_run(environment, console, results / "junit", theirs)
        for environment, theirs in chosen(ENVIRONMENTS, arguments)
        if everything
        or not (environment.needs or environment.takes_long)
        or any(_is_path(text) for text in theirs if text in arguments)
    ]
    return conclude(done, console, required=required, seconds=time.monotonic() - began)


def repeated(engines: Mapping[str, Callable[[], Finding]]) -> dict[str, str]:
    """By environment: the one that runs its tests on this machine as well."""
    return {
        one.repeats: one.name
        for one in ENVIRONMENTS
        if one.repeats and (not one.needs or engines[one.needs]().well)
    }


def chosen(
    environments: Sequence[Environment], arguments: Sequence[str]
) -> list[tuple[Environment, list[str]]]:
    """The environments that arguments for pytest select, each with its own arguments.

    A path, such as `tests/unit/test_money.py::test_cents`, selects the environment whose folder is
    nearest above it. Raises BadArgument when there is none.
    """
    if not arguments:
        return [(environment, []) for environment in environments]
    own = [environment for environment in environments if environment.tests]
    own = [environment for environment in own if not environment.repeats]
    homes = {text: _home(own, text) for text in arguments if _is_path(text)}
    selection = []
    for environment in own:
        theirs = [text for text in arguments if homes.get(text, environment) is environment]
        if not homes:
            selection.append((environment, [*theirs, str(environment.tests)]))
        elif environment in homes.values():
            selection.append((environment, theirs))
    return selection


def _home(environments: Sequence[Environment], text: str) -> Environment:
    above = [
        one for one in environments if one.tests and _path(text).is_relative_to(PROJECT / one.tests)
    ]
    if not above:
        folders = ", ".join(str(environment.tests) for environment in environments)
        raise BadArgument(f"{text} is in none of {folders}.")
    return max(above, key=lambda one: len(str(one.tests)))


def _is_path(text: str) -> bool:
    return not text.startswith("-") and _path(text).is_relative_to(PROJECT / "tests")


def _path(text: str) -> Path:
    return PROJECT / text.partition("::")[0]


def conclude(
    results: Sequence[Result], console: Console, *, required: frozenset[str], seconds: float
) -> int:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("ENVIRONMENT", "OUTCOME", "SECONDS", "TESTS"):
        table.add_column(column, justify="right" if column == "SECONDS" else "left")
    for one in results:
        outcome = Text(one.outcome, style=_COLOURS.get(one.outcome, "yellow"))
        table.add_row(one.environment, outcome, f"{one.seconds:.1f}", _in_words(one.counts))
    console.print()
    console.print(table)
    counts: Counter[str] = Counter()
    missed = set()
    for one in results:
        counts += one.counts
        for line in _skipped(one.skips):
            views.plain(console, line)
        for skip in one.skips:
            missed |= {each for each in required if re.search(rf"(?i)\b{each}\b", skip.reason)}
    for one in results:
        for failure in one.failures:
            views.plain(console, f"FAILED {failure.environment} {failure.test}: {failure.message}")
    for engine in sorted(missed):
        views.plain(console, f"CI_REQUIRE names {engine}, and something was skipped without it")
        counts["error"] += 1
    # As pytest would end, had it run everything at once.
    views.plain(console, f"==== {_in_words(counts) or 'no tests ran'} in {seconds:.2f}s ====")
    if results and all(one.outcome == "nothing selected" for one in results):
        views.complain("bidkit: these arguments select no test.")
        return PYTEST_SELECTED_NOTHING
    return 1 if counts["failed"] or counts["error"] else 0


def _skipped(skips: Sequence[Skip]) -> Iterator[str]:
    by_reason: dict[tuple[str, str], list[str]] = {}
    for skip in skips:
        by_reason.setdefault((skip.environment, skip.reason), []).append(skip.test)
    for (environment, reason), tests in by_reason.items():
        shown = tests if len(tests) <= _NAMED_SKIPS else [f"{len(tests)} tests"]
        for each in shown:
            yield f"SKIPPED {environment} {each}: {reason}"


def _in_words(counts: Counter[str]) -> str:
    order = ("failed", "passed", "skipped", "error")
    plural = "errors" if counts["error"] > 1 else "error"
    return ", ".join(
        f"{counts[word]} {plural if word == 'error' else word}" for word in order if counts[word]
    )


def _skip_or_run(
    environment: Environment, console: Console, junit: Path, arguments: Sequence[str]
) -> Result:
    if environment.needs and not (finding := ENGINES[environment.needs]()).well:
        reason = f"needs {environment.needs}: {finding.says}"
        skip = Skip(environment.name, "(the whole environment)", reason)
        return Result(environment.name, "skipped", Counter(skipped=1), (skip,))
    views.plain(console, f"\n==== {environment.name} ====")
    began = time.monotonic()
    report = junit / f"{environment.name}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "tox", "run", "-e", environment.name]
    if arguments:
        command += ["--", *arguments]
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = subprocess.run(command, cwd=PROJECT, env=ours, check=False).returncode
    found = read(report, environment) if environment.tests else Report(Counter())
    outcome, counts = judge(code, found.counts, selecting=bool(arguments))
    seconds = time.monotonic() - began
    return Result(environment.name, outcome, counts, found.skips, found.failures, seconds)


def judge(code: int, counts: Counter[str] | None, *, selecting: bool) -> tuple[str, Counter[str]]:
    """The outcome, and the counts with an error for a failure that is no failed test.

    tox passes on pytest's exit code. An empty report means that nothing was selected only if that
    says so too: for a path that does not exist, pytest writes one as well.
    """
    if selecting and counts is not None and not counts and code in {0, PYTEST_SELECTED_NOTHING}:
        return "nothing selected", Counter()
    counts = Counter(error=1) if counts is None else counts.copy()
    if code and not (counts["failed"] or counts["error"]):
        counts["error"] = 1  # the last line must not read as a success
    return ("failed" if counts["failed"] or counts["error"] else "passed"), counts


def read(report: Path, environment: Environment) -> Report:
    """Counts the tests of a JUnit report."""
    counts: Counter[str] = Counter()
    skips, failures = [], []
    try:
        # Our own tests have just written it.
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314
    except (FileNotFoundError, ET.ParseError):
        return Report()
    for case in cases:
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        failed = [each for kind in ("error", "failure") if (each := case.find(kind)) is not None]
        skipped = case.find("skipped")
        if failed:
            counts["error" if failed[0].tag == "error" else "failed"] += 1
            message = (failed[-1].get("message") or "no message").splitlines()[0]
            failures.append(Failure(environment.name, name, message[:_SHOWN]))
        elif skipped is not None:
            counts["skipped"] += 1
            reason = skipped.get("message") or "no reason given"
            skips.append(Skip(environment.name, name, reason))
        else:
            counts["passed"] += 1
    return Report(counts, tuple(skips), tuple(failures))
