"""Which entries leave the outbox before they are archived."""

from pkg.api.relay.trimming import held_through, surplus
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.stores.barrier import Tail

EARLY, LATE = OutboxId(1_000, 0), OutboxId(2_000, 0)


def test_entries_leave_only_an_outbox_that_is_more_than_half_full() -> None:
    assert surplus(0, max_entries=1_000) == 0
    assert surplus(500, max_entries=1_000) == 0
    assert surplus(501, max_entries=1_000) == 1
    assert surplus(1_000, max_entries=1_000) == 500
    assert surplus(1, max_entries=1) == 1


def test_nothing_leaves_that_jetstream_lacks_or_that_nobody_saw_there() -> None:
    assert held_through(Tail(7, last=EARLY), LATE) == EARLY
    assert held_through(Tail(7, last=LATE), EARLY) == EARLY
    assert held_through(Tail(), LATE) == BEGINNING
