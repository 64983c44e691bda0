"""Which outbox entries may go. An entry that neither store behind it holds never does."""

from dataclasses import dataclass

from pkg.api.relay.outbox import OutboxStanding
from pkg.auction.outbox import OutboxId
from pkg.stores.stream import MAX_AGE_S


@dataclass(frozen=True, slots=True)
class Retirement:
    """Entries up to ``through`` may go unarchived; ``unarchived_from`` is the first such."""

    through: OutboxId
    unarchived_from: OutboxId


def retirement(
    standing: OutboxStanding, *, relayed: OutboxId, retention_s: float
) -> Retirement | None:
    """What may leave the outbox although the archive does not have it.

    ``relayed`` is the last entry that JetStream was just seen to hold. Entries older than the
    retention go, as long as the oldest event that the archive lacks is younger than half the
    stream's maximum age: from then on the outbox is the only place where it is safe.
    """
    oldest = standing.first_unarchived
    if oldest is None:
        return None
    through = min(relayed, OutboxId(standing.now_ms - int(retention_s * 1000), 0))
    if through < oldest:
        return None
    first_lacking = oldest
    if standing.trimmed_to > standing.archived_to:
        # Some were retired before. Where the archive has moved on among those, its watermark is
        # older than the first it lacks, which errs on the safe side.
        first_lacking = max(standing.unarchived_from, standing.archived_to)
    if standing.now_ms - first_lacking.ms > MAX_AGE_S * 1000 / 2:
        return None
    return Retirement(through=through, unarchived_from=first_lacking)
