import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pkg.broadcast.metrics import Counts
from pkg.broadcast.sequencer import MAX_HELD, Jump, Patience, Sequencer, Update
from tests.unit.broadcast.history import event, standing

WAIT = Patience(gap_wait_s=1.0, confirm_s=2.0)


def at(seq: int) -> Sequencer:
    """A sequencer that was read from Redis at ``seq``."""
    sequencer = Sequencer(WAIT, Counts())
    sequencer.read(standing(seq), asked_at=None, now=0.0)
    return sequencer


def seqs(news: Sequence[Update]) -> list[int]:
    return [each.after.seq for each in news]


def test_next_event_is_told() -> None:
    sequencer = at(4)

    assert seqs(sequencer.event(event(5), 0.0)) == [5]
    assert sequencer.told == standing(5)


def test_event_told_before_is_a_duplicate() -> None:
    sequencer = at(4)

    assert not sequencer.event(event(4), 0.0)
    assert not sequencer.event(event(1), 0.0)
    assert not sequencer.wants_reading
    assert sequencer.deadline() is None


def test_events_that_come_before_the_first_reading_are_told_where_they_go_beyond_it() -> None:
    sequencer = Sequencer(WAIT, Counts())

    for seq in (3, 4, 5, 6):
        assert not sequencer.event(event(seq), 0.0)

    assert seqs(sequencer.read(standing(4), asked_at=None, now=0.0)) == [5, 6]


def test_event_beyond_the_next_is_held_until_the_missing_one_comes() -> None:
    sequencer = at(4)

    assert not sequencer.event(event(7), 0.0)
    assert not sequencer.event(event(6), 0.1)
    assert sequencer.wants_reading
    assert seqs(sequencer.event(event(5), 0.2)) == [5, 6, 7]
    assert sequencer.deadline() is None
    assert sequencer._counts.gaps_filled == 1


def test_missing_event_is_given_up_after_the_wait_and_what_was_held_goes_on() -> None:
    sequencer = at(4)
    sequencer.event(event(7), 0.0)
    sequencer.event(event(8), 0.5)

    assert not sequencer.overdue(0.9)
    news = sequencer.overdue(1.0)

    assert news == [Jump(standing(7), reset=False), event(8)]
    assert sequencer._counts.gaps_jumped == 1


def test_fork_that_redis_settles_is_no_filled_gap() -> None:
    sequencer = at(4)
    sequencer.event(event(5, branch="b", previous=1), 0.0)

    sequencer.read(standing(4), asked_at=sequencer.told, now=0.1)

    assert seqs(sequencer.event(event(5), 0.2)) == [5]
    assert sequencer._counts.gaps_filled == 0


def test_redis_ahead_is_given_time_to_be_told_by_events() -> None:
    sequencer = at(4)

    assert not sequencer.read(standing(6), asked_at=standing(4), now=0.0)
    assert seqs(sequencer.event(event(5), 0.9)) == [5]
    assert not sequencer.overdue(1.5)  # it moved: what is behind is on its way
    assert seqs(sequencer.event(event(6), 1.6)) == [6]
    assert sequencer.deadline() is None


def test_redis_ahead_of_events_that_never_come_is_told_by_a_snapshot() -> None:
    sequencer = at(4)
    sequencer.read(standing(6), asked_at=standing(4), now=0.0)

    assert sequencer.overdue(1.0) == [Jump(standing(6), reset=False)]
    assert sequencer.deadline() is None


def test_reading_older_than_the_event_that_came_meanwhile_is_no_reset() -> None:
    sequencer = at(4)
    asked_at = sequencer.told
    sequencer.event(event(5), 0.0)

    for now in (0.0, 2.0, 4.0):
        assert not sequencer.read(standing(4), asked_at=asked_at, now=now)
    assert sequencer.told == standing(5)


def test_redis_behind_is_adopted_only_when_a_second_reading_says_so() -> None:
    sequencer = at(9)

    assert not sequencer.read(standing(4), asked_at=standing(9), now=0.0)
    assert not sequencer.read(standing(4), asked_at=standing(9), now=1.9)
    assert sequencer.read(standing(4), asked_at=standing(9), now=2.0) == (
        Jump(standing(4), reset=True),
    )
    assert seqs(sequencer.event(event(5), 2.1)) == [5]


def test_redis_behind_that_was_not_recovered_yet_is_not_believed() -> None:
    sequencer = at(9)

    for now in (0.0, 2.0, 4.0):
        assert not sequencer.read(standing(4), asked_at=standing(9), now=now, trusted=False)
    assert not sequencer.read(standing(4), asked_at=standing(9), now=5.0)
    assert sequencer.told == standing(9)


def test_redis_that_gets_back_what_it_forgot_resets_nobody() -> None:
    sequencer = at(9)

    sequencer.read(standing(4), asked_at=standing(9), now=0.0)
    sequencer.read(standing(9), asked_at=standing(9), now=2.0)

    assert not sequencer.read(standing(4), asked_at=standing(9), now=2.1)
    assert sequencer.told == standing(9)


def test_another_bid_at_the_same_seq_is_a_conflict() -> None:
    sequencer = at(9)
    other = standing(9, branch="b")

    assert not sequencer.event(event(9, branch="b"), 0.0)
    assert sequencer.wants_reading
    assert not sequencer.read(other, asked_at=standing(9), now=0.0)
    assert sequencer.read(other, asked_at=standing(9), now=2.0) == (Jump(other, reset=True),)


def test_a_history_that_took_our_seq_at_our_price_is_not_told_before_viewers_are_reset() -> None:
    """Redis forgot seq 9, gave it to another bid of the same amount, and went on from there."""
    sequencer = at(9)
    sequencer.event(event(9, branch="b"), 0.0)

    follower = event(10, branch="b")
    assert not sequencer.event(follower, 0.1)
    assert not sequencer.read(follower.after, asked_at=standing(9), now=0.2)
    assert sequencer.overdue(1.1) == (Jump(follower.after, reset=True),)


def test_a_late_event_of_a_lost_history_at_our_seq_holds_up_nothing_once_redis_was_read() -> None:
    sequencer = at(9)
    sequencer.event(event(9, branch="lost"), 0.0)

    sequencer.read(standing(9), asked_at=standing(9), now=0.1)

    assert seqs(sequencer.event(event(10), 0.2)) == [10]


def test_event_of_another_history_never_lowers_the_price_before_redis_says_so() -> None:
    """Redis forgot, other bids were placed, and their seq has just passed ours."""
    sequencer = at(9)
    cheaper = event(10, branch="b", cents=600, previous=500)

    assert not sequencer.event(cheaper, 0.0)
    assert sequencer.wants_reading
    sequencer.wants_reading = False
    assert not sequencer.overdue(1.0)
    assert sequencer.wants_reading
    assert not sequencer.read(cheaper.after, asked_at=standing(9), now=1.5)
    assert sequencer.overdue(2.0) == (Jump(cheaper.after, reset=True),)
    follower = event(11, branch="b", cents=700, previous=600)
    assert sequencer.event(follower, 2.1) == (follower,)


def test_event_that_redis_never_held_is_dropped() -> None:
    sequencer = at(9)
    sequencer.event(event(10, branch="lost", cents=5000, previous=4000), 0.0)

    sequencer.read(standing(9), asked_at=standing(9), now=0.1)

    assert seqs(sequencer.event(event(10), 0.2)) == [10]
    assert sequencer.deadline() is None


def test_redis_ahead_with_a_lower_price_is_a_reset_and_not_a_snapshot() -> None:
    sequencer = at(9)
    elsewhere = standing(12, branch="b", cents=300)
    sequencer.read(elsewhere, asked_at=standing(9), now=0.0)

    assert sequencer.overdue(1.0) == (Jump(elsewhere, reset=True),)


def test_held_events_are_bounded_and_the_gap_given_up_at_the_bound() -> None:
    sequencer = at(0)

    told: list[int] = []
    for seq in range(2, MAX_HELD + 3):
        told += seqs(sequencer.event(event(seq), 0.0))

    assert told == list(range(2, MAX_HELD + 3))
    assert len(sequencer._held) == 0


def test_events_held_before_the_first_reading_are_bounded() -> None:
    sequencer = Sequencer(WAIT, Counts())

    for seq in range(1, 3 * MAX_HELD):
        sequencer.event(event(seq), 0.0)

    assert len(sequencer._held) == MAX_HELD


def test_events_held_of_a_contradictory_history_are_bounded() -> None:
    sequencer = at(1)
    sequencer.event(event(2, branch="b", cents=50, previous=40), 0.0)

    for seq in range(3, MAX_HELD + 50):
        sequencer.event(event(seq), 0.0)

    assert len(sequencer._held) <= MAX_HELD + 1


@given(
    lost=st.sets(st.integers(1, 40), max_size=10),
    seed=st.integers(0, 2**32),
    disorder=st.integers(0, 6),
)
def test_whatever_is_lost_repeated_or_shuffled_viewers_end_at_the_truth(
    lost: set[int], seed: int, disorder: int
) -> None:
    """``seq`` always rises, an event follows its predecessor, and the end is Redis' state."""
    chance = random.Random(seed)
    arriving = [seq for seq in range(1, 41) if seq not in lost]
    arriving += chance.sample(arriving, k=len(arriving) // 3)
    arriving.sort(key=lambda seq: seq + chance.uniform(0, disorder))
    sequencer = at(0)
    told: list[Update] = []

    now = 0.0
    for seq in arriving:
        now += chance.choice((0.0, 0.01, 0.3))
        told += sequencer.event(event(seq), now)
        told += sequencer.overdue(now)
        if chance.random() < 0.1:
            asked_at = sequencer.told
            truth = max(seq, sequencer.told.seq if sequencer.told else 0)
            told += sequencer.read(standing(truth), asked_at=asked_at, now=now)
    told += sequencer.read(standing(40), asked_at=sequencer.told, now=now)
    while (deadline := sequencer.deadline()) is not None:
        told += sequencer.overdue(deadline)

    before = 0
    for news in told:
        if isinstance(news, Jump):
            assert news.after.seq > before
            assert not news.reset
        else:
            assert news.seq == before + 1
        before = news.after.seq
    assert before == 40
