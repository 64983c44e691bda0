"""What the relay keeps of each partition, and how it splits entries into messages."""

from collections.abc import Sequence
from dataclasses import dataclass

from pkg.api.relay.outbox import Entry
from pkg.auction.events import MAX_BATCH_BYTES
from pkg.auction.outbox import BEGINNING, OutboxId


@dataclass
class Lane:
    """A partition, as this relay knows it."""

    position: OutboxId = BEGINNING
    """The outbox id to resume after."""
    sequence: int = 0
    """The stream sequence of the subject's last message."""
    epoch: int = 0
    """The epoch in which this relay publishes."""
    newest: int = 0
    """The newest epoch that the archive told of, if it is newer."""
    stored: OutboxId = BEGINNING
    """The last outbox id that this relay saw in JetStream. Nothing beyond it is trimmed."""
    announced: OutboxId = BEGINNING
    """The last watermark heard that was beyond ``stored``."""
    archived: OutboxId = BEGINNING
    """The highest watermark that was believed."""
    archived_since: float = 0.0
    refused: OutboxId = BEGINNING
    """The last watermark that was not believed."""
    refused_epoch: int = 0
    """The last epoch of a watermark that was not believed."""
    foreign_sequence: int = 0
    """The last message that was not of this outbox."""
    trimmed: OutboxId = BEGINNING

    def enter(self, epoch: int) -> None:
        """What was believed in another epoch may be of another Redis' outbox."""
        if self.epoch != epoch:
            self.epoch = epoch
            self.announced = self.archived = BEGINNING


def batches_of(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    """Splits at MAX_BATCH_BYTES; a read returns at most MAX_BATCH_EVENTS of a partition."""
    batches: list[Sequence[Entry]] = []
    start = size = 0
    for index, entry in enumerate(entries):
        if size + len(entry.event) > MAX_BATCH_BYTES and index > start:
            batches.append(entries[start:index])
            start, size = index, 0
        size += len(entry.event) + 1
    batches.append(entries[start:])
    return batches
