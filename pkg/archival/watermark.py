"""How far the archive is: stretches of a partition's outbox, folded into one watermark."""

from collections.abc import Iterable
from typing import NamedTuple

from pkg.auction.outbox import OutboxId


class Stretch(NamedTuple):
    """Every event after ``prev`` up to and with ``last``: what one batch says it holds."""

    prev: OutboxId
    last: OutboxId


def fold(watermark: OutboxId, stretches: Iterable[Stretch]) -> tuple[OutboxId, list[Stretch]]:
    """The watermark moved as far as the archived stretches chain, and the islands beyond it.

    The watermark never passes a hole; islands are joined where they touch, sorted, and few.
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
