"""`bidkit test`: the tox environments one after the other, and one verdict over all of them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pkg.devkit import junit, views
from pkg.devkit.doctor import Finding, docker, terraform
from pkg.devkit.errors import BadArgument
from pkg.devkit.junit import Skip, Tally
from pkg.devkit.settings import PROJECT


@dataclass(frozen=True, slots=True)
class Environment:
    """One of tox.ini."""

    name: str
    tests: str | None = None
    """The folder of its tests, if pytest is what it runs."""

    needs: str | None = None
    """A key of ENGINES, or nothing but Python."""

    again: bool = False
    """Its tests are another's, which is the one that paths and options ask for."""

    takes_long: bool = False
    """Run by `--all`, or when one of its paths is asked for."""


ENVIRONMENTS = (
    Environment("lint"),
    Environment("types"),
    Environment("unit", tests="tests/unit"),
    Environment("terraform", tests="tests/terraform", needs="terraform"),
    Environment("integration", tests="tests/integration"),
    Environment("faults", tests="tests/integration/trials/faults", takes_long=True),
    Environment(
        "containers", tests="tests/integration", again=True, needs="docker", takes_long=True
    ),
    Environment("compose", tests="tests/integration/compose", needs="docker", takes_long=True),
    Environment(
        "faults-compose",
        tests="tests/integration/trials/faults_compose",
        needs="docker",
        takes_long=True,
    ),
)

ENGINES: dict[str, Callable[[], Finding]] = {"docker": docker, "terraform": terraform}


@dataclass(frozen=True, slots=True)
class Result:
    environment: str
    outcome: str
    """passed, failed, skipped, or that nothing was selected."""

    detail: str
    tally: Tally
    seconds: float = 0.0


NOTHING_SELECTED = "nothing selected"
PYTEST_SELECTED_NOTHING = 5
"""pytest's own exit code for it."""


def chosen(
    environments: Sequence[Environment], arguments: Sequence[str]
) -> list[tuple[Environment, list[str]]]:
    """The environments that arguments for pytest leave, each with its own.

    A path, such as `tests/unit/test_money.py::test_cents`, stands in for all tests of the
    environment it lies in. Raises BadArgument when it lies in none.
    """
    if not arguments:
        return [(environment, []) for environment in environments]
    homes = {text: _home(environments, text) for text in arguments if _is_path(text)}
    selection = []
    for environment in environments:
        if environment.again:
            continue
        theirs = [text for text in arguments if homes.get(text, environment) is environment]
        if environment.tests and not homes:
            selection.append((environment, [*theirs, environment.tests]))
        elif environment in homes.values():
            selection.append((environment, theirs))
    return selection


def _home(environments: Sequence[Environment], text: str) -> Environment:
    """The environment whose folder is nearest above the path."""
    above = {
        environment.tests: environment
        for environment in environments
        if environment.tests
        and not environment.again
        and _path(text).is_relative_to(PROJECT / environment.tests)
    }
    if not above:
        folders = ", ".join(environment.tests for environment in environments if environment.tests)
        raise BadArgument(f"{text} is in none of {folders}.")
    return above[max(above, key=len)]


def _is_path(text: str) -> bool:
    return not text.startswith("-") and _path(text).is_relative_to(PROJECT / "tests")


def _path(text: str) -> Path:
    return PROJECT / text.partition("::")[0]


class TestRun:
    __test__ = False  # not one of pytest's

    def __init__(
        self,
        *,
        results: Path,
        required: frozenset[str],
        environments: Sequence[Environment] = ENVIRONMENTS,
    ) -> None:
        """`required` are engines for want of which nothing may be skipped."""
        self._junit = results / "junit"
        self._required = required
        self.environments = environments

    def run(self, console: Console, *, everything: bool, arguments: Sequence[str]) -> int:
        """The exit code. Arguments for pytest confine the run to the environments that use it.

        Raises BadArgument for a path that is in none of them.
        """
        began = time.monotonic()
        results = [
            self._skip_or_run(environment, console, theirs)
            for environment, theirs in chosen(self.environments, arguments)
            if everything
            or not (environment.needs or environment.takes_long)
            or any(_is_path(text) and text in theirs for text in arguments)
        ]
        code = self.conclude(results, console, seconds=time.monotonic() - began)
        if all(result.outcome == NOTHING_SELECTED for result in results) and not code:
            views.complain("bidkit: these arguments select no test.")
            return PYTEST_SELECTED_NOTHING
        return code

    def conclude(self, results: Sequence[Result], console: Console, *, seconds: float) -> int:
        tally = sum((result.tally for result in results), Tally())
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("ENVIRONMENT", "OUTCOME", "SECONDS", "DETAIL"):
            table.add_column(column, justify="right" if column == "SECONDS" else "left")
        colours = {"passed": "green", "failed": "red"}
        for result in results:
            outcome = Text(result.outcome, style=colours.get(result.outcome, "yellow"))
            table.add_row(result.environment, outcome, f"{result.seconds:.1f}", result.detail)
        console.print()
        console.print(table)
        for skip in tally.skips:
            views.plain(console, f"SKIPPED {skip.environment} {skip.test}: {skip.reason}")
        missed = sorted(self._missed(tally.skips))
        for engine in missed:
            views.plain(console, f"CI_REQUIRE names {engine}, and something was skipped without it")
        tally += Tally(errors=len(missed))
        views.plain(console, junit.last_line(tally, seconds=seconds))
        return 0 if tally.clean else 1

    def _skip_or_run(
        self, environment: Environment, console: Console, arguments: Sequence[str]
    ) -> Result:
        if environment.needs:
            finding = ENGINES[environment.needs]()
            if not finding.well:
                reason = f"needs {environment.needs}: {finding.says}"
                skip = Skip(environment.name, "(the whole environment)", reason)
                return Result(environment.name, "skipped", reason, Tally(skips=(skip,)))
        views.plain(console, f"\n==== {environment.name} ====")
        began = time.monotonic()
        code = self._tox(environment, arguments)
        seconds = time.monotonic() - began
        tally = self._tally(environment, code)
        words = junit.last_line(tally, seconds=seconds).strip("= ")
        detail = words.rpartition(" in ")[0] if environment.tests else f"exit code {code}"
        outcome = "passed" if tally.clean else "failed"
        if arguments and tally == Tally():
            outcome = NOTHING_SELECTED
        return Result(environment.name, outcome, detail, tally, seconds)

    def _tox(self, environment: Environment, arguments: Sequence[str]) -> int:
        command = [sys.executable, "-P", "-m", "tox", "run", "-e", environment.name]
        if environment.tests:
            report = self._report(environment)
            report.parent.mkdir(parents=True, exist_ok=True)
            report.unlink(missing_ok=True)
            if arguments:
                command += ["--", "-p", "pkg.devkit.selection", *arguments]
        ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(command, cwd=PROJECT, env=ours, check=False).returncode

    def _tally(self, environment: Environment, code: int) -> Tally:
        """What failed without being a failed test counts as one error: the last line must not
        read as a success.
        """
        if not environment.tests:
            return Tally(errors=int(code != 0))
        try:
            tally = junit.read(self._report(environment), environment=environment.name)
        except (FileNotFoundError, ET.ParseError):
            return Tally(errors=1)
        return tally + Tally(errors=1) if tally.clean and code else tally

    def _report(self, environment: Environment) -> Path:
        return self._junit / f"{environment.name}.xml"

    def _missed(self, skips: Sequence[Skip]) -> set[str]:
        """The required engines that the reason of a skip names."""
        return {
            engine
            for engine in self._required
            for skip in skips
            if re.search(rf"\b{re.escape(engine)}\b", skip.reason, re.IGNORECASE)
        }
