import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.auction.outbox import BEGINNING, OutboxId

outbox_ids = st.builds(OutboxId, st.integers(0, 2**64), st.integers(0, 2**64))


@given(outbox_ids)
def test_id_survives_conversion_to_text_and_back(one: OutboxId) -> None:
    assert OutboxId.parse(str(one)) == one
    assert OutboxId.parse(str(one).encode()) == one


@given(outbox_ids, outbox_ids)
def test_next_is_the_smallest_id_above(one: OutboxId, other: OutboxId) -> None:
    assert one < one.next()
    assert not (one < other < one.next())


def test_ids_compare_as_numbers_not_as_text() -> None:
    assert OutboxId.parse("9-10") > OutboxId.parse("9-9") > OutboxId.parse("2-0") > BEGINNING


@pytest.mark.parametrize("text", ["", "-", "1", "1-", "-1", "1-2-3", "+1-2", "1-²", "1-٣", " 1-2"])
def test_invalid_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an outbox id|ascii"):
        OutboxId.parse(text)
