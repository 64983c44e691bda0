import pytest

from pkg.devkit.bidding import line_of, place_bid
from pkg.devkit.errors import BadArgument, BidkitError


def test_a_bid_reads_as_one_line_with_exact_money() -> None:
    text = '{"seq":7,"amount":9999999999.99,"previous_bid":1200.10,"user_id":"ann","item_id":"i"}'

    line = line_of(text)

    assert line.split() == ["#7", "9,999,999,999.99", "ann", "(before:", "1,200.10)"]


def test_a_snapshot_says_what_was_skipped() -> None:
    text = '{"type":"snapshot","seq":9,"current_bid":5.00,"skipped":3}'

    line = line_of(text)

    assert line.split(maxsplit=2) == ["#9", "5.00", "nobody  (snapshot, 3 skipped)"]


@pytest.mark.parametrize("amount", ["12,50", "abc", "", "0x10", "1_000", "NaN", "--5", "01"])
def test_an_amount_that_is_no_number_is_not_sent(amount: str) -> None:
    with pytest.raises(BadArgument, match="is no amount"):
        place_bid("http://127.0.0.1:1", "lamp", amount, user="ann")


def test_nobody_listening_is_said_plainly() -> None:
    with pytest.raises(BidkitError, match=r"no answer from http://127\.0\.0\.1:1"):
        place_bid("http://127.0.0.1:1", "lamp", "5", user="ann")
