"""A partition's watermark, folded from the stretches of its outbox that are archived."""

from collections.abc import Iterable
from typing import NamedTuple

from pkg.auction.outbox import OutboxId


class Stretch(NamedTuple):
    """A batch's part of the outbox: every event after ``prev``, up to and including ``last``."""

    prev: OutboxId
    last: OutboxId


def fold(watermark: OutboxId, stretches: Iterable[Stretch]) -> tuple[OutboxId, list[Stretch]]:
    """Moves the watermark up to the first hole; returns it with the islands beyond, sorted.

    Islands that touch are joined.
    """
    islands: list[Stretch] = []
    for stretch in sorted(stretches):
        if stretch.prev <= watermark:
            watermark = max(watermark, stretch.last)
        elif islands and stretch.prev <= islands[-1].last:
            islands[-1] = Stretch(islands[-1].prev, max(islands[-1].last, stretch.last))
        else:
            islands.append(stretch)
    return watermark, islands
