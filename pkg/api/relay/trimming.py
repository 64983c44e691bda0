"""Which outbox entries may go. An entry is kept until JetStream or PostgreSQL has it."""

from dataclasses import dataclass

from pkg.api.relay.outbox import OutboxState
from pkg.auction.outbox import OutboxId
from pkg.stores.stream import MAX_AGE_S


@dataclass(frozen=True, slots=True)
class Retirement:
    """Entries up to ``through`` may go unarchived; ``unarchived_from`` is the first of them."""

    through: OutboxId
    unarchived_from: OutboxId


def retirement(state: OutboxState, *, relayed: OutboxId, retention_s: float) -> Retirement | None:
    """Which unarchived entries may leave the outbox.

    ``relayed`` is the last entry that JetStream is known to hold. Entries older than the retention
    go, unless the oldest unarchived event is older than half the stream's maximum age: from then on
    only the outbox keeps it safe.
    """
    oldest = state.first_unarchived
    if oldest is None:
        return None
    through = min(relayed, OutboxId(state.now_ms - int(retention_s * 1000), 0))
    if through < oldest:
        return None
    first_lacking = oldest
    if state.trimmed_to > state.archived_to:
        # Some were retired before. If the archive has since got some of those, its watermark is
        # below the first one it lacks, which errs on the safe side.
        first_lacking = max(state.unarchived_from, state.archived_to)
    if state.now_ms - first_lacking.ms > MAX_AGE_S * 1000 / 2:
        return None
    return Retirement(through=through, unarchived_from=first_lacking)
