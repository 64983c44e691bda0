import io
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from pkg.devkit.doctor import Finding
from pkg.devkit.errors import BadArgument
from pkg.devkit.settings import PROJECT
from pkg.devkit.testing import (
    ENGINES,
    ENVIRONMENTS,
    PYTEST_SELECTED_NOTHING,
    Environment,
    Failure,
    Report,
    Result,
    Skip,
    chosen,
    conclude,
    judge,
    read,
    repeated,
    run,
)

REPORT = """<?xml version="1.0"?>
<testsuites><testsuite name="pytest" tests="5">
  <testcase classname="tests.a" name="test_one" time="0.1"/>
  <testcase classname="tests.a" name="test_two" time="0.1"/>
  <testcase classname="tests.a" name="test_red" time="0.1"><failure message="assert">…</failure></testcase>
  <testcase classname="tests.a" name="test_broken" time="0.1"><error message="setup">…</error></testcase>
  <testcase classname="tests.a" name="test_docker" time="0"><skipped message="needs docker"/></testcase>
</testsuite></testsuites>
"""  # noqa: E501 - as pytest writes it

UNIT = Environment("unit", "tests/unit")


def concluded(*results: Result, required: frozenset[str] = frozenset()) -> tuple[int, list[str]]:
    console = Console(file=io.StringIO(), width=120)

    code = conclude(results, console, required=required, seconds=1.0)

    assert isinstance(console.file, io.StringIO)
    return code, console.file.getvalue().splitlines()


def result(outcome: str = "passed", *, skip: str | None = None, **counts: int) -> Result:
    skips = (Skip("unit", "test_x", skip),) if skip else ()
    return Result("unit", outcome, Counter(counts), skips)


def test_output_ends_with_one_line_for_all_environments() -> None:
    code, lines = concluded(result(passed=300), result(passed=12, skipped=1))

    assert (code, lines[-1]) == (0, "==== 312 passed, 1 skipped in 1.00s ====")


def test_failure_in_one_environment_fails_the_run() -> None:
    code, lines = concluded(result("failed", error=2, failed=1), result(passed=3))

    assert (code, lines[-1]) == (1, "==== 1 failed, 3 passed, 2 errors in 1.00s ====")


def test_every_skip_is_named_with_its_reason() -> None:
    code, lines = concluded(result(skipped=1, skip="needs docker: no engine answers"))

    assert code == 0
    assert "SKIPPED unit test_x: needs docker: no engine answers" in lines


def test_many_skips_with_one_reason_are_counted_instead() -> None:
    skips = tuple(Skip("cloud", f"test_{number}", "needs a token") for number in range(58))

    _, lines = concluded(Result("cloud", "passed", Counter(skipped=58), skips))

    assert [line for line in lines if "SKIPPED" in line] == [
        "SKIPPED cloud 58 tests: needs a token"
    ]


def test_every_failure_is_named_right_above_the_last_line() -> None:
    failures = (Failure("unit", "tests.a::test_red", "assert 1 == 2"),)
    failed = Result("unit", "failed", Counter(failed=1), failures=failures)

    _, lines = concluded(failed, result(skipped=1, skip="needs docker"))

    assert lines[-2] == "FAILED unit tests.a::test_red: assert 1 == 2"


def test_skip_for_lack_of_a_required_engine_fails_the_run() -> None:
    skipped = result(passed=1, skipped=1, skip="needs Docker")

    code, lines = concluded(skipped, required=frozenset({"docker", "terraform"}))

    assert (code, lines[-1]) == (1, "==== 1 passed, 1 skipped, 1 error in 1.00s ====")
    assert "CI_REQUIRE names docker, and something was skipped without it" in lines


def test_skip_for_another_reason_does_not_fail_the_run() -> None:
    skipped = result(skipped=1, skip="only on macOS")

    assert concluded(skipped, required=frozenset({"docker"}))[0] == 0


def test_arguments_that_select_no_test_fail_the_run() -> None:
    nothing = result("nothing selected")

    assert concluded(nothing, nothing)[0] == PYTEST_SELECTED_NOTHING
    assert concluded(nothing, result(passed=3))[0] == 0


def test_report_is_counted_by_outcome_and_skips_keep_their_reason(tmp_path: Path) -> None:
    report = tmp_path / "unit.xml"
    report.write_text(REPORT)

    found = read(report, UNIT)

    assert found.counts == Counter(passed=2, failed=1, error=1, skipped=1)
    assert found.skips == (Skip("unit", "tests.a::test_docker", "needs docker"),)
    assert found.failures == (
        Failure("unit", "tests.a::test_red", "assert"),
        Failure("unit", "tests.a::test_broken", "setup"),
    )


def test_missing_report_has_no_counts(tmp_path: Path) -> None:
    assert read(tmp_path / "unit.xml", UNIT) == Report()


@pytest.mark.parametrize(
    ("code", "counts", "selecting", "outcome"),
    [
        (0, Counter(passed=3), False, "passed"),
        (1, Counter(passed=3, failed=1), False, "failed"),
        (1, Counter(passed=3), False, "failed"),  # such as a leak found at exit
        (5, Counter(), True, "nothing selected"),
        (4, Counter(), True, "failed"),  # a path that does not exist
        (5, Counter(), False, "failed"),  # an environment that lost its tests
        (1, None, True, "failed"),
    ],
)
def test_empty_report_is_no_failure_only_if_pytest_selected_nothing(
    code: int,
    counts: Counter[str] | None,
    selecting: bool,  # noqa: FBT001 - pytest passes parameters by name
    outcome: str,
) -> None:
    judged, counted = judge(code, counts, selecting=selecting)

    assert judged == outcome
    assert bool(counted["failed"] or counted["error"]) == (outcome == "failed")


def test_every_engine_that_an_environment_needs_can_be_detected() -> None:
    assert {one.needs for one in ENVIRONMENTS} - {None} == set(ENGINES)


def test_environments_are_the_same_as_in_tox() -> None:
    tox = (PROJECT / "tox.ini").read_text()

    assert f"env_list = {', '.join(one.name for one in ENVIRONMENTS)}\n" in tox


@pytest.mark.parametrize(
    ("well", "elsewhere"), [(True, {"integration": "containers"}), (False, {})]
)
def test_tests_that_run_on_containers_need_not_run_on_wheels_as_well(
    well: bool,  # noqa: FBT001 - pytest passes parameters by name
    elsewhere: dict[str, str],
) -> None:
    assert repeated({"docker": lambda: Finding("docker", well, "")}) == elsewhere


def selection(*arguments: str) -> list[tuple[str, list[str]]]:
    return [(one.name, theirs) for one, theirs in chosen(ENVIRONMENTS, arguments)]


def test_without_arguments_every_environment_runs_as_in_tox() -> None:
    assert selection() == [(one.name, []) for one in ENVIRONMENTS]


def test_arguments_go_to_the_environments_that_run_pytest() -> None:
    assert selection("-k", "money") == [
        ("unit", ["-k", "money", "tests/unit"]),
        ("terraform", ["-k", "money", "tests/terraform"]),
        ("integration", ["-k", "money", "tests/integration"]),
        ("devkit", ["-k", "money", "tests/integration/devkit"]),
        ("experiments", ["-k", "money", "tests/integration/trials/experiments"]),
        ("load", ["-k", "money", "tests/integration/load"]),
        ("report", ["-k", "money", "tests/integration/trials/report"]),
        ("faults", ["-k", "money", "tests/integration/trials/faults"]),
        ("compose", ["-k", "money", "tests/integration/compose"]),
        ("faults-compose", ["-k", "money", "tests/integration/trials/faults_compose"]),
        ("cloud", ["-k", "money", "tests/integration/cloud"]),
    ]


def test_path_selects_its_environment() -> None:
    money = "tests/unit/test_money.py::test_cents"
    proxy = "tests/integration/trials/faults/test_proxy.py"

    assert selection("-x", money) == [("unit", ["-x", money])]
    assert selection(money, "-x", proxy) == [("unit", [money, "-x"]), ("faults", ["-x", proxy])]


def test_path_outside_all_environments_is_refused() -> None:
    console = Console(file=io.StringIO())

    with pytest.raises(BadArgument, match="tests/nosuch is in none of tests/unit"):
        run(
            console,
            results=Path("unused"),
            required=frozenset(),
            everything=False,
            arguments=["tests/nosuch"],
        )
