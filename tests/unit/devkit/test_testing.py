import io
from pathlib import Path

from rich.console import Console

from pkg.devkit.junit import Skip, Tally
from pkg.devkit.testing import ENGINES, Environment, Result, TestRun


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

    assert f"env_list = {', '.join(one.name for one in ours)}" in tox
