import random
from collections import Counter

import pytest

from pkg.trials.report.latencies import Latencies


def latencies(*values: int) -> Latencies:
    return Latencies(Counter(values))


def test_percentiles_of_one_to_a_thousand_are_their_ranks() -> None:
    measured = latencies(*range(1, 1001))

    assert [measured.at(share) for share in (0.5, 0.95, 0.99, 0.999)] == [500, 950, 990, 999]


def test_percentiles_are_samples_as_in_a_sorted_list() -> None:
    chance = random.Random(7)
    values = sorted(int(chance.lognormvariate(8, 1)) for _ in range(4321))

    measured = latencies(*values)

    # Nearest rank: 0.999 of 4321 is 4316.7, so the 4317th.
    assert measured.at(0.999) == values[4316]
    assert measured.at(0.5) == values[2160]


def test_percentile_without_a_sample_beyond_it_is_not_claimed() -> None:
    measured = latencies(*range(1, 101))

    assert (measured.at(0.99), measured.at(0.999)) == (99, None)
    assert measured.highest_at(0.999) == 100


def test_no_samples_have_no_percentile_and_no_curve() -> None:
    measured = latencies()

    assert (measured.count, measured.at(0.5), measured.highest_at(1), measured.curve()) == (
        *(0, None, None),
        [],
    )


def test_merged_repetitions_are_as_if_measured_at_once() -> None:
    merged = Latencies.merged([latencies(1, 1, 5), latencies(5, 9), latencies()])

    assert merged.counts == {1: 2, 5: 2, 9: 1}
    assert merged.at(0.5) == 5


def test_latencies_below_zero_are_counted() -> None:
    assert latencies(-5, -1, -1, 0, 3).negative == 3


def test_cell_that_is_no_integer_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Latencies.of_text({"1.5": 1})


def test_curve_rises_from_the_median_to_the_last_but_one_sample() -> None:
    curve = latencies(*range(1, 1001)).curve()

    assert curve[0] == (2.0, 500)
    assert curve[-1][1] == 999
    assert curve == sorted(curve)
