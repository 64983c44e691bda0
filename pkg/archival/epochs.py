"""Tells a partition's own history from what an older Redis published after a newer one began."""

from collections.abc import Iterable
from typing import NamedTuple


class EpochMark(NamedTuple):
    """A partition's newest epoch, and the stream sequence of its first message."""

    number: int = 0
    began: int = 0


class Origin(NamedTuple):
    """Where a batch comes from: its partition, its epoch and its stream sequence."""

    partition: str
    epoch: int
    sequence: int

    def is_superseded(self, mark: EpochMark) -> bool:
        """Whether it was published after a newer epoch began. Relays that know of no epochs publish
        none: theirs cannot be told apart.
        """
        return 0 < self.epoch < mark.number and self.sequence > mark.began


def newest(mark: EpochMark, origins: Iterable[Origin]) -> EpochMark:
    """The mark after these batches. A stream that was made anew begins its sequences anew."""
    for origin in origins:
        if origin.epoch > mark.number or (
            origin.epoch == mark.number and 0 < origin.sequence < mark.began
        ):
            mark = EpochMark(origin.epoch, origin.sequence)
    return mark
