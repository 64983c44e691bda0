import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pkg.broadcast.item_view import Event
from pkg.broadcast.metrics import Counts
from pkg.broadcast.sequencer import MAX_HELD, Jump, Patience, Sequencer, Update
from tests.unit.broadcast.history import event, extended, item_view

WAIT = Patience(gap_wait_s=1.0, confirm_s=2.0)


def sequencer_at(seq: int) -> Sequencer:
    """A sequencer that starts at ``seq``."""
    sequencer = Sequencer(WAIT, Counts())
    sequencer.read(item_view(seq), asked_at=None, now=0.0)
    return sequencer


def seqs(updates: Sequence[Update]) -> list[int]:
    return [update.after.seq for update in updates]


def test_next_event_is_sent() -> None:
    sequencer = sequencer_at(4)

    assert seqs(sequencer.event(event(5), 0.0)) == [5]
    assert sequencer.told == item_view(5)


def test_event_at_or_below_our_seq_is_a_duplicate() -> None:
    sequencer = sequencer_at(4)

    assert not sequencer.event(event(4), 0.0)
    assert not sequencer.event(event(1), 0.0)
    assert not sequencer.wants_reading
    assert sequencer.deadline() is None


def test_events_before_the_first_read_are_kept_and_newer_ones_sent_after_it() -> None:
    sequencer = Sequencer(WAIT, Counts())

    for seq in (3, 4, 5, 6):
        assert not sequencer.event(event(seq), 0.0)

    assert seqs(sequencer.read(item_view(4), asked_at=None, now=0.0)) == [5, 6]


def test_event_after_a_gap_is_held_until_the_missing_one_comes() -> None:
    sequencer = sequencer_at(4)

    assert not sequencer.event(event(7), 0.0)
    assert not sequencer.event(event(6), 0.1)
    assert sequencer.wants_reading
    assert seqs(sequencer.event(event(5), 0.2)) == [5, 6, 7]
    assert sequencer.deadline() is None
    assert sequencer._counts.gaps_filled == 1


def test_gap_is_skipped_after_the_wait_and_held_events_follow() -> None:
    sequencer = sequencer_at(4)
    sequencer.event(event(7), 0.0)
    sequencer.event(event(8), 0.5)

    assert not sequencer.overdue(0.9)
    updates = sequencer.overdue(1.0)

    assert updates == [Jump(item_view(7), reset=False), event(8)]
    assert sequencer._counts.gaps_jumped == 1


def test_fork_that_redis_settles_is_no_filled_gap() -> None:
    sequencer = sequencer_at(4)
    sequencer.event(event(5, branch="b", previous=1), 0.0)

    sequencer.read(item_view(4), asked_at=sequencer.told, now=0.1)

    assert seqs(sequencer.event(event(5), 0.2)) == [5]
    assert sequencer._counts.gaps_filled == 0


def test_when_redis_is_ahead_its_events_are_awaited() -> None:
    sequencer = sequencer_at(4)

    assert not sequencer.read(item_view(6), asked_at=item_view(4), now=0.0)
    assert seqs(sequencer.event(event(5), 0.9)) == [5]
    assert not sequencer.overdue(1.5)  # an event came, so the wait starts again
    assert seqs(sequencer.event(event(6), 1.6)) == [6]
    assert sequencer.deadline() is None


def test_when_redis_is_ahead_and_events_do_not_come_a_snapshot_replaces_them() -> None:
    sequencer = sequencer_at(4)
    sequencer.read(item_view(6), asked_at=item_view(4), now=0.0)

    assert sequencer.overdue(1.0) == [Jump(item_view(6), reset=False)]
    assert sequencer.deadline() is None


def test_event_that_came_during_a_read_does_not_make_redis_look_behind() -> None:
    sequencer = sequencer_at(4)
    asked_at = sequencer.told
    sequencer.event(event(5), 0.0)

    for now in (0.0, 2.0, 4.0):
        assert not sequencer.read(item_view(4), asked_at=asked_at, now=now)
    assert sequencer.told == item_view(5)


def test_redis_behind_causes_a_reset_only_when_a_second_read_confirms_it() -> None:
    sequencer = sequencer_at(9)

    assert not sequencer.read(item_view(4), asked_at=item_view(9), now=0.0)
    assert not sequencer.read(item_view(4), asked_at=item_view(9), now=1.9)
    assert sequencer.read(item_view(4), asked_at=item_view(9), now=2.0) == (
        Jump(item_view(4), reset=True),
    )
    assert seqs(sequencer.event(event(5), 2.1)) == [5]


def test_redis_behind_causes_no_reset_before_it_is_recovered() -> None:
    sequencer = sequencer_at(9)

    for now in (0.0, 2.0, 4.0):
        assert not sequencer.read(item_view(4), asked_at=item_view(9), now=now, trusted=False)
    assert not sequencer.read(item_view(4), asked_at=item_view(9), now=5.0)
    assert sequencer.told == item_view(9)


def test_redis_that_recovers_what_it_lost_causes_no_reset() -> None:
    sequencer = sequencer_at(9)

    sequencer.read(item_view(4), asked_at=item_view(9), now=0.0)
    sequencer.read(item_view(9), asked_at=item_view(9), now=2.0)

    assert not sequencer.read(item_view(4), asked_at=item_view(9), now=2.1)
    assert sequencer.told == item_view(9)


def test_another_bid_at_our_seq_causes_a_reset_once_redis_confirms_it() -> None:
    sequencer = sequencer_at(9)
    other = item_view(9, branch="b")

    assert not sequencer.event(event(9, branch="b"), 0.0)
    assert sequencer.wants_reading
    assert not sequencer.read(other, asked_at=item_view(9), now=0.0)
    assert sequencer.read(other, asked_at=item_view(9), now=2.0) == (Jump(other, reset=True),)


def test_fork_with_our_seq_and_price_is_not_sent_before_a_reset() -> None:
    """Redis lost seq 9, then gave it to another bid of the same amount."""
    sequencer = sequencer_at(9)
    sequencer.event(event(9, branch="b"), 0.0)

    follower = event(10, branch="b")
    assert not sequencer.event(follower, 0.1)
    assert not sequencer.read(follower.after, asked_at=item_view(9), now=0.2)
    assert sequencer.overdue(1.1) == (Jump(follower.after, reset=True),)


def test_late_event_of_a_lost_history_holds_nothing_up_once_redis_was_read() -> None:
    sequencer = sequencer_at(9)
    sequencer.event(event(9, branch="lost"), 0.0)

    sequencer.read(item_view(9), asked_at=item_view(9), now=0.1)

    assert seqs(sequencer.event(event(10), 0.2)) == [10]


def test_event_of_another_history_does_not_lower_the_price_before_redis_confirms_it() -> None:
    """Redis lost bids, and the seq of new ones has just passed ours."""
    sequencer = sequencer_at(9)
    cheaper = event(10, branch="b", cents=600, previous=500)

    assert not sequencer.event(cheaper, 0.0)
    assert sequencer.wants_reading
    sequencer.wants_reading = False
    assert not sequencer.overdue(1.0)
    assert sequencer.wants_reading
    assert not sequencer.read(cheaper.after, asked_at=item_view(9), now=1.5)
    assert sequencer.overdue(2.0) == (Jump(cheaper.after, reset=True),)
    follower = event(11, branch="b", cents=700, previous=600)
    assert sequencer.event(follower, 2.1) == (follower,)


def test_event_that_redis_does_not_hold_is_dropped() -> None:
    sequencer = sequencer_at(9)
    sequencer.event(event(10, branch="lost", cents=5000, previous=4000), 0.0)

    sequencer.read(item_view(9), asked_at=item_view(9), now=0.1)

    assert seqs(sequencer.event(event(10), 0.2)) == [10]
    assert sequencer.deadline() is None


def test_redis_ahead_with_a_lower_price_causes_a_reset() -> None:
    sequencer = sequencer_at(9)
    ahead = item_view(12, branch="b", cents=300)
    sequencer.read(ahead, asked_at=item_view(9), now=0.0)

    assert sequencer.overdue(1.0) == (Jump(ahead, reset=True),)


def test_gap_is_skipped_when_too_many_events_are_held() -> None:
    sequencer = sequencer_at(0)

    sent: list[int] = []
    for seq in range(2, MAX_HELD + 3):
        sent += seqs(sequencer.event(event(seq), 0.0))

    assert sent == list(range(2, MAX_HELD + 3))
    assert len(sequencer._held) == 0


def test_events_held_before_the_first_read_are_bounded() -> None:
    sequencer = Sequencer(WAIT, Counts())

    for seq in range(1, 3 * MAX_HELD):
        sequencer.event(event(seq), 0.0)

    assert len(sequencer._held) == MAX_HELD


def test_held_events_of_a_fork_are_bounded() -> None:
    sequencer = sequencer_at(1)
    sequencer.event(event(2, branch="b", cents=50, previous=40), 0.0)

    for seq in range(3, MAX_HELD + 50):
        sequencer.event(event(seq), 0.0)

    assert len(sequencer._held) <= MAX_HELD + 1


def chained_to(price_seq: int, seq: int) -> Event:
    """A bid that follows the price of ``price_seq``, as those between were of another kind."""
    return event(seq, previous=price_seq * 100)


def test_event_of_an_unknown_kind_takes_its_seq_and_the_next_bid_follows() -> None:
    sequencer = sequencer_at(4)

    assert seqs(sequencer.event(extended(5), 0.0)) == [5]
    assert sequencer.told == item_view(4)._replace(seq=5, event_id=None)
    assert seqs(sequencer.event(chained_to(4, 6), 0.0)) == [6]
    assert sequencer.deadline() is None
    assert not sequencer.wants_reading


def test_event_of_an_unknown_kind_that_fills_a_gap_lets_held_bids_follow() -> None:
    sequencer = sequencer_at(4)

    assert not sequencer.event(chained_to(4, 6), 0.0)
    assert seqs(sequencer.event(extended(5), 0.1)) == [5, 6]
    assert sequencer.deadline() is None


def test_held_event_of_an_unknown_kind_keeps_the_price_that_the_gap_brings() -> None:
    sequencer = sequencer_at(4)
    sequencer.event(extended(6), 0.0)

    assert seqs(sequencer.event(event(5), 0.1)) == [5, 6]
    assert sequencer.told == item_view(5)._replace(seq=6, event_id=None)


def test_gap_before_an_event_of_an_unknown_kind_is_skipped_to_what_redis_holds() -> None:
    sequencer = sequencer_at(4)
    sequencer.event(extended(6), 0.0)
    assert not sequencer.overdue(1.0)
    assert sequencer.wants_reading
    redis = item_view(5)._replace(seq=6)

    sequencer.read(redis, asked_at=sequencer.told, now=1.1)

    assert sequencer.overdue(2.0) == [Jump(redis, reset=False)]
    assert sequencer.deadline() is None


def test_redis_that_names_another_event_at_the_seq_of_an_unknown_kind_causes_no_reset() -> None:
    sequencer = sequencer_at(4)
    sequencer.event(extended(5), 0.0)
    redis = item_view(4)._replace(seq=5)

    for now in (1.0, 9.0):
        assert not sequencer.read(redis, asked_at=sequencer.told, now=now)


@given(
    lost=st.sets(st.integers(1, 40), max_size=10),
    seed=st.integers(0, 2**32),
    disorder=st.integers(0, 6),
)
def test_lost_repeated_and_reordered_events_still_end_at_redis_state(
    lost: set[int], seed: int, disorder: int
) -> None:
    """``seq`` always rises, and events are sent in order or skipped by a snapshot."""
    chance = random.Random(seed)
    arriving = [seq for seq in range(1, 41) if seq not in lost]
    arriving += chance.sample(arriving, k=len(arriving) // 3)
    arriving.sort(key=lambda seq: seq + chance.uniform(0, disorder))
    sequencer = sequencer_at(0)
    sent: list[Update] = []

    now = 0.0
    for seq in arriving:
        now += chance.choice((0.0, 0.01, 0.3))
        sent += sequencer.event(event(seq), now)
        sent += sequencer.overdue(now)
        if chance.random() < 0.1:
            asked_at = sequencer.told
            truth = max(seq, sequencer.told.seq if sequencer.told else 0)
            sent += sequencer.read(item_view(truth), asked_at=asked_at, now=now)
    sent += sequencer.read(item_view(40), asked_at=sequencer.told, now=now)
    while (deadline := sequencer.deadline()) is not None:
        sent += sequencer.overdue(deadline)

    before = 0
    for update in sent:
        if isinstance(update, Jump):
            assert update.after.seq > before
            assert not update.reset
        else:
            assert update.seq == before + 1
        before = update.after.seq
    assert before == 40
