import io
from pathlib import Path

import pytest
from rich.console import Console

from pkg.devkit.errors import BadArgument
from pkg.devkit.junit import Skip, Tally
from pkg.devkit.testing import (
    ENGINES,
    ENVIRONMENTS,
    NOTHING_SELECTED,
    Environment,
    Result,
    TestRun,
    chosen,
)


def concluded(*results: Result, required: frozenset[str] = frozenset()) -> tuple[int, list[str]]:
    console = Console(file=io.StringIO(), width=120)

    code = TestRun(results=Path("unused"), required=required).conclude(
        results, console, seconds=1.0
    )

    assert isinstance(console.file, io.StringIO)
    return code, console.file.getvalue().splitlines()


def skipped(reason: str) -> Result:
    tally = Tally(passed=1, skips=(Skip("integration", "test_x", reason),))
    return Result("integration", "passed", "", tally)


def test_the_output_ends_with_one_line_over_all_environments() -> None:
    unit = Result("unit", "passed", "", Tally(passed=300))
    integration = Result("integration", "passed", "", Tally(passed=12))

    code, lines = concluded(unit, integration)

    assert (code, lines[-1]) == (0, "==== 312 passed in 1.00s ====")


def test_an_environment_that_fails_without_a_failed_test_fails_the_run() -> None:
    lint = Result("lint", "failed", "exit code 1", Tally(errors=1))

    code, lines = concluded(lint, Result("unit", "passed", "", Tally(passed=3)))

    assert (code, lines[-1]) == (1, "==== 3 passed, 1 error in 1.00s ====")


def test_every_skip_is_named_with_its_reason() -> None:
    code, lines = concluded(skipped("needs docker: no engine answers"))

    assert code == 0
    assert "SKIPPED integration test_x: needs docker: no engine answers" in lines


def test_a_skip_for_want_of_what_is_required_fails_the_run() -> None:
    code, lines = concluded(skipped("needs Docker"), required=frozenset({"docker", "terraform"}))

    assert (code, lines[-1]) == (1, "==== 1 passed, 1 skipped, 1 error in 1.00s ====")
    assert "CI_REQUIRE names docker, and something was skipped without it" in lines


def test_a_skip_for_another_reason_does_not_fail_a_run_that_requires_engines() -> None:
    code, _ = concluded(skipped("only on macOS"), required=frozenset({"docker"}))

    assert code == 0


def test_every_engine_that_an_environment_needs_can_be_looked_for() -> None:
    for environment in TestRun(results=Path("unused"), required=frozenset()).environments:
        assert environment.needs is None or environment.needs in ENGINES


def test_environments_are_those_of_tox() -> None:
    tox = (Path(__file__).parents[3] / "tox.ini").read_text()
    ours: list[Environment] = list(TestRun(results=Path(), required=frozenset()).environments)

    assert f"env_list = {', '.join(one.name for one in ours)}\n" in tox


def named(*arguments: str) -> list[tuple[str, list[str]]]:
    return [(one.name, theirs) for one, theirs in chosen(ENVIRONMENTS, arguments)]


def test_without_arguments_every_environment_runs_what_tox_says() -> None:
    assert named() == [(one.name, []) for one in ENVIRONMENTS]


def test_arguments_go_to_the_environments_that_run_pytest() -> None:
    assert named("-k", "money") == [
        ("unit", ["-k", "money", "tests/unit"]),
        ("terraform", ["-k", "money", "tests/terraform"]),
        ("integration", ["-k", "money", "tests/integration"]),
        ("faults", ["-k", "money", "tests/integration/trials/faults"]),
        ("compose", ["-k", "money", "tests/integration/compose"]),
        ("faults-compose", ["-k", "money", "tests/integration/trials/faults_compose"]),
    ]


def test_a_path_stands_in_for_all_tests_of_the_environment_it_lies_in() -> None:
    money, proxy = (
        "tests/unit/test_money.py::test_cents",
        "tests/integration/trials/faults/test_proxy.py",
    )

    assert named("-x", money) == [("unit", ["-x", money])]
    assert named(money, "-x", proxy) == [("unit", [money, "-x"]), ("faults", ["-x", proxy])]


def test_a_path_in_no_environment_is_refused() -> None:
    run = TestRun(results=Path("unused"), required=frozenset())

    with pytest.raises(BadArgument, match="tests/nosuch is in none of tests/unit"):
        run.run(Console(file=io.StringIO()), everything=False, arguments=["tests/nosuch"])


def test_nothing_selected_is_no_failure() -> None:
    nothing = Result("integration", NOTHING_SELECTED, "no tests ran", Tally())

    code, lines = concluded(Result("unit", "passed", "", Tally(passed=3)), nothing)

    assert (code, lines[-1]) == (0, "==== 3 passed in 1.00s ====")
