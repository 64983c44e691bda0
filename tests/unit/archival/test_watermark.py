import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from pkg.archival.watermark import Stretch, fold
from pkg.auction.outbox import BEGINNING, OutboxId


def stretch(prev: int, last: int) -> Stretch:
    return Stretch(OutboxId(prev, 0), OutboxId(last, 0))


def test_stretches_that_chain_move_the_watermark_in_any_order() -> None:
    mark, islands = fold(BEGINNING, [stretch(2, 3), stretch(0, 1), stretch(1, 2)])

    assert (mark, islands) == (OutboxId(3, 0), [])


def test_stretch_beyond_a_hole_waits() -> None:
    mark, islands = fold(OutboxId(5, 0), [stretch(6, 9)])

    assert (mark, islands) == (OutboxId(5, 0), [stretch(6, 9)])


def test_old_stretch_never_moves_the_watermark_back() -> None:
    mark, islands = fold(OutboxId(5, 0), [stretch(1, 3)])

    assert (mark, islands) == (OutboxId(5, 0), [])


def test_islands_that_touch_become_one() -> None:
    _, islands = fold(BEGINNING, [stretch(7, 9), stretch(3, 5), stretch(5, 7)])

    assert islands == [stretch(3, 9)]


def test_ids_compare_as_numbers_not_as_text() -> None:
    mark, _ = fold(OutboxId(9, 0), [Stretch(OutboxId(9, 0), OutboxId(10, 2))])
    mark, _ = fold(mark, [Stretch(OutboxId(10, 2), OutboxId(10, 10))])

    assert mark == OutboxId(10, 10)


def _model(mark: int, stretches: list[tuple[int, int]]) -> tuple[int, set[int]]:
    """Checks each id: the watermark stops before the first that no stretch covers."""
    covered = {each for prev, last in stretches for each in range(prev + 1, last + 1)}
    covered |= set(range(1, mark + 1))
    while mark + 1 in covered:
        mark += 1
    return mark, {each for each in covered if each > mark}


@settings(deadline=None)  # the machine may be busy
@given(
    st.integers(0, 12),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), max_size=8),
    st.integers(0, 8),
)
def test_fold_agrees_with_the_model_however_the_stretches_are_split(
    start: int, lengths: list[tuple[int, int]], split: int
) -> None:
    spans = [(prev, prev + length) for prev, length in lengths]
    stretches = [stretch(*span) for span in spans]

    first_mark, waiting = fold(OutboxId(start, 0), stretches[:split])
    mark, islands = fold(first_mark, [*waiting, *stretches[split:]])

    expected_mark, expected_beyond = _model(start, spans)
    beyond = {each for island in islands for each in range(island.prev.ms + 1, island.last.ms + 1)}
    assert (mark.ms, beyond) == (expected_mark, expected_beyond)
    assert all(one.last < two.prev for one, two in itertools.pairwise(islands))
