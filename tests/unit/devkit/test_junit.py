from pathlib import Path

import pytest

from pkg.devkit import junit
from pkg.devkit.junit import Skip, Tally

REPORT = """<?xml version="1.0"?>
<testsuites><testsuite name="pytest" tests="5">
  <testcase classname="tests.a" name="test_one" time="0.1"/>
  <testcase classname="tests.a" name="test_two" time="0.1"/>
  <testcase classname="tests.a" name="test_red" time="0.1"><failure message="assert">…</failure></testcase>
  <testcase classname="tests.a" name="test_broken" time="0.1"><error message="setup">…</error></testcase>
  <testcase classname="tests.a" name="test_docker" time="0"><skipped message="needs docker"/></testcase>
</testsuite></testsuites>
"""  # noqa: E501 - as pytest writes it


def test_a_report_is_counted_by_outcome_and_skips_keep_their_reason(tmp_path: Path) -> None:
    report = tmp_path / "unit.xml"
    report.write_text(REPORT)

    tally = junit.read(report, environment="unit")

    skip = Skip("unit", "tests.a::test_docker", "needs docker")
    assert tally == Tally(passed=2, failed=1, errors=1, skips=(skip,))


@pytest.mark.parametrize(
    ("tally", "line"),
    [
        (Tally(passed=312), "==== 312 passed in 201.33s ===="),
        (
            Tally(passed=3, skips=(Skip("e", "t", "r"),)),
            "==== 3 passed, 1 skipped in 201.33s ====",
        ),
        (
            Tally(passed=3, failed=2, errors=1),
            "==== 2 failed, 3 passed, 1 error in 201.33s ====",
        ),
        (Tally(), "==== no tests ran in 201.33s ===="),
    ],
)
def test_the_last_line_reads_as_pytests(tally: Tally, line: str) -> None:
    assert junit.last_line(tally, seconds=201.334) == line


def test_tallies_add_up_and_keep_every_skip() -> None:
    one = Tally(passed=1, skips=(Skip("a", "x", "r"),))
    two = Tally(passed=2, failed=1, skips=(Skip("b", "y", "r"),))

    both = one + two

    assert both == Tally(passed=3, failed=1, skips=(*one.skips, *two.skips))
