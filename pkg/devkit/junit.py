"""What test environments wrote as JUnit XML, counted together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET


@dataclass(frozen=True, slots=True)
class Skip:
    environment: str
    test: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tally:
    passed: int = 0
    failed: int = 0
    errors: int = 0
    skips: tuple[Skip, ...] = ()

    def __add__(self, other: Self) -> "Tally":
        return Tally(
            passed=self.passed + other.passed,
            failed=self.failed + other.failed,
            errors=self.errors + other.errors,
            skips=self.skips + other.skips,
        )

    @property
    def clean(self) -> bool:
        return not self.failed and not self.errors


def read(file: Path, *, environment: str) -> Tally:
    """Raises FileNotFoundError or ET.ParseError when the run did not get to write it."""
    tally = Tally()
    # Our own tests wrote it a moment ago.
    for case in ET.parse(file).iter("testcase"):  # noqa: S314
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        skipped = case.find("skipped")
        if case.find("error") is not None:
            tally += Tally(errors=1)
        elif case.find("failure") is not None:
            tally += Tally(failed=1)
        elif skipped is not None:
            reason = skipped.get("message") or (skipped.text or "").strip() or "no reason given"
            tally += Tally(skips=(Skip(environment, name, reason),))
        else:
            tally += Tally(passed=1)
    return tally


def last_line(tally: Tally, *, seconds: float) -> str:
    """As pytest would have ended, had it run everything at once."""
    counts = (
        (tally.failed, "failed"),
        (tally.passed, "passed"),
        (len(tally.skips), "skipped"),
        (tally.errors, "error" if tally.errors == 1 else "errors"),
    )
    said = ", ".join(f"{count} {word}" for count, word in counts if count) or "no tests ran"
    return f"==== {said} in {seconds:.2f}s ===="
