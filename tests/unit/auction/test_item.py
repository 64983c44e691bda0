from hypothesis import given
from hypothesis import strategies as st

from pkg.auction.item import FIELDS, ItemState, partition_names, partition_of
from pkg.auction.keys import item_key, meta_key, outbox_key


def test_item_without_bids_has_seq_0_and_price_0() -> None:
    assert ItemState.from_redis([None] * len(FIELDS)) == ItemState(price_cents=0, seq=0, count=0)


def test_item_is_read_in_the_order_of_the_fields() -> None:
    values = {
        "price": b"20000",
        "bidder": b"ann",
        "seq": b"7",
        "count": b"6",
        "event_id": b"e",
        "opened_at": b"2026-01-01T00:00:00.000000Z",
    }

    state = ItemState.from_redis([values[name] for name in FIELDS])

    assert (state.price_cents, state.bidder, state.seq, state.count) == (20000, "ann", 7, 6)
    assert (state.event_id, state.opened_at) == ("e", "2026-01-01T00:00:00.000000Z")


@given(st.from_regex(r"[A-Za-z0-9._:-]{1,128}", fullmatch=True), st.integers(1, 64))
def test_every_item_belongs_to_one_of_the_partitions(item_id: str, partitions: int) -> None:
    assert partition_of(item_id, partitions) in partition_names(partitions)


def test_partition_of_an_item_never_changes() -> None:
    """If this changed, every stored item would be looked up in the wrong partition."""
    partitions = [partition_of(item_id, 4) for item_id in ("vase", "lamp", "a:b", "item-1")]

    assert partitions == ["p01", "p02", "p00", "p01"]


def test_keys_of_a_partition_share_one_hash_tag() -> None:
    keys = [item_key("p01", "vase"), outbox_key("p01"), meta_key("p01")]

    assert keys == ["{p01}:item:vase", "{p01}:outbox", "{p01}:meta"]
