"""What the relay knows of each partition, which watermarks it believes, and how it splits entries
into messages.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pkg.api.relay.metrics import RelayMetrics
from pkg.api.relay.outbox import Entry
from pkg.auction.events import MAX_BATCH_BYTES, is_credible_epoch
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.runtime import logs

log = logs.get("relay")


@dataclass
class Lane:
    """A partition, as this relay knows it."""

    partition: str
    metrics: RelayMetrics
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

    def refuses(self, epoch: int) -> bool:
        """Whether a watermark is of an epoch that no opening took: nobody could go on above that.
        The first of each is counted and logged.
        """
        if is_credible_epoch(epoch):
            return False
        if epoch != self.refused_epoch:
            self.refused_epoch = epoch
            self.metrics.watermarks_refused += 1
            log.error(
                "a watermark is of an epoch that no opening took; it is ignored",
                partition=self.partition,
                epoch=epoch,
            )
        return True

    def hear(self, watermark: OutboxId, epoch: int) -> bool:
        """Takes an announced watermark. Returns True if somebody has published in a newer epoch."""
        if epoch and self.epoch and epoch != self.epoch:
            if epoch > self.epoch:
                self.newest = epoch
            return epoch > self.epoch
        if watermark <= self.stored:
            self._believe(watermark)
        else:
            self.announced = watermark  # the publish that it follows may not be acknowledged yet
        return False

    def judge(self, *, complete: bool) -> None:
        """Believes the announced watermark or refuses it: one beyond all that was stored does not
        come from our archive, unless it was believed before, as NATS may have lost its store since.

        ``complete``: whether ``stored`` tells all that JetStream holds; otherwise it is too early
        to refuse.
        """
        if self.announced <= max(self.stored, self.archived):
            self._believe(self.announced)
        elif complete and self.announced != self.refused:
            self.refused = self.announced
            self.metrics.watermarks_refused += 1
            log.error(
                "a watermark is beyond all that was stored; nothing is trimmed by it",
                partition=self.partition,
                watermark=str(self.announced),
                stored=str(self.stored),
            )

    def _believe(self, watermark: OutboxId) -> None:
        if watermark > self.archived:
            self.archived = watermark
            self.archived_since = asyncio.get_running_loop().time()


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
