import random
from typing import Literal

import pytest

from pkg.trials.report.noise import compare

STEADY = (100.0, 101.0, 99.0)


@pytest.mark.parametrize(("better", "verdict"), [("higher", "worse"), ("lower", "better")])
def test_fall_of_a_third_is_marked(better: Literal["higher", "lower"], verdict: str) -> None:
    change = compare(STEADY, (67.0, 66.0, 68.0), better=better)

    assert change.verdict == verdict
    assert change.ratio == pytest.approx(0.67, abs=0.001)
    assert change.interval is not None
    assert change.interval[0] < 0.67 < change.interval[1] < 0.95


def test_same_fall_between_scattered_repetitions_is_noise() -> None:
    change = compare((100.0, 140.0, 70.0), (67.0, 95.0, 45.0), better="higher")

    assert change.verdict == "within noise"


def test_sure_but_small_change_is_not_marked() -> None:
    change = compare((100.0, 100.1, 99.9), (97.0, 97.0, 97.1), better="higher")

    assert change.verdict == "within noise"
    assert change.interval is not None
    assert change.interval[1] < 1


def test_interval_is_welchs() -> None:
    """Computed by hand: equal spreads of three values each have four degrees of freedom."""
    e = 2.718281828459045
    change = compare((1.0, e**0.1, e**0.2), (e, e**1.1, e**1.2), better="lower")

    # Standard error: sqrt(2 * 0.01 / 3) = 0.08165; t = 4.604.
    assert change.interval is not None
    assert list(change.interval) == pytest.approx([e**0.6241, e**1.3759], rel=1e-3)


@pytest.mark.parametrize("after", [(50.0,), (50.0, None)])
def test_single_repetition_is_never_marked(after: tuple[float | None, ...]) -> None:
    change = compare(STEADY, after, better="higher")

    assert (change.verdict, change.interval) == ("too few repetitions", None)
    assert change.ratio == pytest.approx(0.5, abs=0.001)


def test_unlike_machines_are_not_judged() -> None:
    change = compare(STEADY, (50.0, 50.0, 51.0), better="higher", alike=False)

    assert change.verdict == "not comparable"
    assert change.ratio is not None


@pytest.mark.parametrize("after", [(), (None, None), (0.0, 1.0)])
def test_unmeasured_and_zero_values_have_no_ratio(after: tuple[float | None, ...]) -> None:
    assert compare(STEADY, after, better="higher").ratio is None


def test_two_runs_of_the_same_thing_are_hardly_ever_marked() -> None:
    chance = random.Random(3)

    def repetitions() -> list[float]:
        return [1000 * chance.lognormvariate(0, 0.1) for _ in range(3)]

    marked = sum(
        compare(repetitions(), repetitions(), better="higher").verdict in {"worse", "better"}
        for _ in range(1000)
    )

    assert marked < 10
