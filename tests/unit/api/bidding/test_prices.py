from hypothesis import given
from hypothesis import strategies as st

from pkg.api.bidding.prices import PriceCounts, SeenPrices

items = st.sampled_from("abcdefgh")


@given(
    limit=st.integers(0, 5),
    seen=st.lists(st.tuples(items, st.integers(1, 100))),
    asked=st.lists(st.tuples(items, st.integers(1, 100))),
)
def test_a_refusal_names_a_price_that_was_seen_and_is_not_beaten(
    limit: int, seen: list[tuple[str, int]], asked: list[tuple[str, int]]
) -> None:
    prices = SeenPrices(limit, PriceCounts())
    highest: dict[str, int] = {}

    for item, cents in seen:
        prices.saw(item, cents)
        highest[item] = max(cents, highest.get(item, 0))

    for item, cents in asked:
        refusal = prices.refuses(item, cents)
        assert refusal is None or cents <= refusal <= highest[item]
    assert len(prices._cents) <= limit


def test_the_cache_is_bounded_and_counts_evictions() -> None:
    counts = PriceCounts()
    prices = SeenPrices(2, counts)

    for item in "abc":
        prices.saw(item, 100)

    assert [prices.refuses(item, 50) for item in "abc"] == [None, 100, 100]
    assert (counts.hits, counts.evictions) == (2, 1)


def test_a_late_reply_does_not_lower_the_price() -> None:
    prices = SeenPrices(2, PriceCounts())
    prices.saw("a", 200)

    prices.saw("a", 150)

    assert prices.refuses("a", 180) == 200


def test_an_equal_amount_is_refused_and_a_higher_one_goes_to_redis() -> None:
    prices = SeenPrices(2, PriceCounts())
    prices.saw("a", 200)

    assert prices.refuses("a", 200) == 200
    assert prices.refuses("a", 201) is None
