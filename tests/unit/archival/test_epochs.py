"""Which batches are of a partition's own history."""

from pkg.archival.epochs import EpochMark, Origin, newest

NOW = EpochMark(number=20, began=100)


def of(epoch: int, sequence: int) -> Origin:
    return Origin("p01", epoch, sequence)


def test_what_an_older_epoch_published_after_a_newer_one_began_is_superseded() -> None:
    assert of(10, 101).is_superseded(NOW)


def test_what_it_published_before_comes_late_and_is_not() -> None:
    assert not of(10, 99).is_superseded(NOW)


def test_the_newest_epoch_and_relays_without_one_are_never_superseded() -> None:
    assert not of(20, 500).is_superseded(NOW)
    assert not of(0, 500).is_superseded(NOW)


def test_a_newer_epoch_moves_the_mark_and_an_older_one_does_not() -> None:
    assert newest(NOW, [of(10, 150), of(30, 160), of(20, 170)]) == EpochMark(30, 160)


def test_a_stream_made_anew_begins_its_sequences_anew() -> None:
    assert newest(NOW, [of(20, 1)]) == EpochMark(20, 1)


def test_a_message_of_unknown_sequence_moves_no_beginning() -> None:
    assert newest(NOW, [of(20, 0)]) == NOW
