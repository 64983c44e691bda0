"""Target tracking scales out after three minutes above, in after fifteen well below."""

import pytest

from localstack.emulator.autoscaling.tracking import IN_AFTER, OUT_AFTER, Tracking, agreed, wanted

TRACKING = Tracking(100, out_cooldown_s=30, in_cooldown_s=300, may_scale_in=True)


def test_three_minutes_above_the_target_scale_out_in_proportion() -> None:
    assert wanted([150, 240, 250], TRACKING, count=2) == 5


def test_older_minutes_stand_in_for_missing_ones() -> None:
    assert wanted([250, None, 250, None, 250], TRACKING, count=2) == 5


@pytest.mark.parametrize(
    "values", [[250, 250], [250, 100, 250], [None, None, None, 250, 250], [None] * 5, []]
)
def test_less_than_three_minutes_above_scale_nothing(values: list[float | None]) -> None:
    assert wanted(values, TRACKING, count=2) == 2


def test_fifteen_minutes_well_below_scale_in_to_what_their_busiest_needs() -> None:
    assert wanted([10] * (IN_AFTER - 1) + [50], TRACKING, count=4) == 2


@pytest.mark.parametrize(
    "values",
    [
        [10] * (IN_AFTER - 1),
        [10] * (IN_AFTER - 1) + [95],
        [None] * 3 + [10] * (IN_AFTER - 1),
    ],
)
def test_less_than_fifteen_minutes_well_below_scale_nothing(values: list[float | None]) -> None:
    assert wanted(values, TRACKING, count=4) == 4


def test_policy_may_forbid_scaling_in() -> None:
    only_out = Tracking(100, out_cooldown_s=30, in_cooldown_s=300, may_scale_in=False)

    assert wanted([10] * IN_AFTER, only_out, count=4) == 4
    assert wanted([200] * OUT_AFTER, only_out, count=4) == 8


def test_one_policy_is_enough_to_scale_out_and_all_are_needed_to_scale_in() -> None:
    assert agreed([2, 5], count=2, least=1, most=9) == 5
    assert agreed([2, 4], count=4, least=1, most=9) == 4
    assert agreed([2, 3], count=4, least=1, most=9) == 3


def test_limits_stand_over_all_policies() -> None:
    assert agreed([9], count=2, least=1, most=4) == 4
    assert agreed([1], count=4, least=2, most=4) == 2
    assert agreed([], count=0, least=2, most=4) == 2
