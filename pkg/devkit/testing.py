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
from pkg.devkit.junit import Skip, Tally
from pkg.devkit.settings import PROJECT

NO_TESTS_COLLECTED = 5
"""pytest's exit code; with a selection of tests an environment may have none of them."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One of tox.ini."""

    name: str
    runs_pytest: bool
    needs: str | None = None
    """A key of ENGINES, or nothing but Python."""


ENVIRONMENTS = (
    Environment("lint", runs_pytest=False),
    Environment("types", runs_pytest=False),
    Environment("unit", runs_pytest=True),
    Environment("integration", runs_pytest=True),
)

ENGINES: dict[str, Callable[[], Finding]] = {"docker": docker, "terraform": terraform}


@dataclass(frozen=True, slots=True)
class Result:
    environment: str
    outcome: str
    """passed, failed or skipped."""

    detail: str
    tally: Tally
    seconds: float = 0.0


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
        """The exit code. Arguments for pytest confine the run to the environments that use it."""
        began = time.monotonic()
        results = [
            self._skip_or_run(environment, console, arguments)
            for environment in self.environments
            if (everything or not environment.needs) and (environment.runs_pytest or not arguments)
        ]
        return self.conclude(results, console, seconds=time.monotonic() - began)

    def conclude(self, results: Sequence[Result], console: Console, *, seconds: float) -> int:
        tally = sum((result.tally for result in results), Tally())
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("ENVIRONMENT", "OUTCOME", "SECONDS", "DETAIL"):
            table.add_column(column, justify="right" if column == "SECONDS" else "left")
        colours = {"passed": "green", "failed": "red", "skipped": "yellow"}
        for result in results:
            outcome = Text(result.outcome, style=colours[result.outcome])
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
        tally = self._tally(environment, code, selected=bool(arguments))
        words = junit.last_line(tally, seconds=seconds).strip("= ")
        detail = words.rpartition(" in ")[0] if environment.runs_pytest else f"exit code {code}"
        outcome = "passed" if tally.clean else "failed"
        return Result(environment.name, outcome, detail, tally, seconds)

    def _tox(self, environment: Environment, arguments: Sequence[str]) -> int:
        command = [sys.executable, "-P", "-m", "tox", "run", "-e", environment.name]
        if environment.runs_pytest:
            report = self._report(environment)
            report.parent.mkdir(parents=True, exist_ok=True)
            report.unlink(missing_ok=True)
            command += ["--", f"--junit-xml={report}", *arguments]
        ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(command, cwd=PROJECT, env=ours, check=False).returncode

    def _tally(self, environment: Environment, code: int, *, selected: bool) -> Tally:
        """What failed without being a failed test counts as one error: the last line must not
        read as a success.
        """
        if not environment.runs_pytest:
            return Tally(errors=int(code != 0))
        try:
            tally = junit.read(self._report(environment), environment=environment.name)
        except (FileNotFoundError, ET.ParseError):
            return Tally(errors=1)
        of_no_matter = {0, NO_TESTS_COLLECTED} if selected else {0}
        return tally + Tally(errors=1) if tally.clean and code not in of_no_matter else tally

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
