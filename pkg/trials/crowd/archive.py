"""Compares the ledger with the archive: each 201 once, and no bid that no client sent."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg

from pkg.trials.crowd.ledger import AcceptedBid, Ledger

SUPERSEDED = "superseded_epoch"
"""The reason of dead letters that a Redis accepted after another one was opened in its place."""
BIDS = (
    "SELECT event_id, item_id, seq, (amount * 100)::bigint AS cents,"
    " extract(epoch FROM archived_at)::float8 AS at FROM bids"
)
LETTERS = (
    "SELECT event_id, reason, extract(epoch FROM created_at)::float8 AS at FROM dead_letters"
    " WHERE event_id IS NOT NULL"
)
POSTGRES_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError)
_SHOWN = 5


@dataclass
class Comparison:
    archived: int
    lost: list[str]
    """event_ids of accepted bids that are in no table."""
    conflicts: list[str]
    """event_ids of accepted bids that became dead letters, but for those kept apart."""
    reasons: set[str]
    """The reasons of those dead letters."""
    unknown_archived: int
    """Bids of unknown outcome that are in the archive."""
    problems: list[str]
    losses: list[str]
    """Losses and conflicts in sentences. The row decides whether they are problems."""
    kept_apart: list[str] = field(default_factory=list)
    """event_ids of accepted bids that are dead letters because another Redis was opened."""
    strategies: set[str] = field(default_factory=set)
    """Strategies that archived bids were placed with."""
    kept_at: dict[str, float] = field(default_factory=dict)
    """When each event was archived or made a dead letter (time.monotonic), by event_id."""
    shown_otherwise: int = 0
    """Archived bids for whose seq viewers were shown another bid."""


async def compare(
    ledger: Ledger,
    postgres: "asyncpg.Connection[asyncpg.Record]",
    *,
    shown: Mapping[tuple[str, int], str],
) -> Comparison:
    """`shown` is what viewers saw: the event_id of each (item, seq)."""
    archived = await postgres.fetch(BIDS)
    dead = await postgres.fetch(LETTERS)
    strategies = await postgres.fetch("SELECT DISTINCT strategy FROM bids")
    bids = {
        str(row["event_id"]): AcceptedBid(row["item_id"], row["seq"], row["cents"])
        for row in archived
    }
    letters = {str(row["event_id"]): str(row["reason"]) for row in dead}
    comparison = judge(ledger, bids, letters, shown)
    # The stores are on this machine: one clock.
    clock = time.time() - time.monotonic()
    comparison.kept_at = {str(row["event_id"]): row["at"] - clock for row in (*dead, *archived)}
    comparison.strategies = {row["strategy"] for row in strategies}
    return comparison


def judge(
    ledger: Ledger,
    bids: Mapping[str, AcceptedBid],
    letters: Mapping[str, str],
    shown: Mapping[tuple[str, int], str],
) -> Comparison:
    """`bids` are the archived ones and `letters` the dead letters' reasons, both by event_id."""
    problems: list[str] = []
    losses: list[str] = []
    missing = [event for event in ledger.accepted if event not in bids]
    lost = [event for event in missing if event not in letters]
    kept_apart = [event for event in missing if letters.get(event) == SUPERSEDED]
    conflicts = [event for event in missing if letters.get(event, SUPERSEDED) != SUPERSEDED]
    reasons = {letters[event] for event in conflicts}
    if lost:
        listed = ", ".join(f"{event} {ledger.accepted[event]}" for event in lost[:_SHOWN])
        losses.append(f"{len(lost)} accepted bids are lost: {listed}")
    if conflicts:
        named = ", ".join(sorted(reasons))
        losses.append(f"{len(conflicts)} accepted bids are dead letters ({named})")
    differing = [
        f"{event}: told {kept}, archived {bids[event]}"
        for event, kept in ledger.accepted.items()
        if event in bids and bids[event] != kept
    ]
    if differing:
        problems.append(f"{len(differing)} bids differ: {'; '.join(differing[:_SHOWN])}")
    unclaimed = [kept for event, kept in bids.items() if event not in ledger.accepted]
    unknown = ledger.unknown | ledger.unknown_elsewhere
    unsent = [kept for kept in unclaimed if (kept.item, kept.cents) not in unknown]
    if unsent:
        problems.append(f"{len(unsent)} archived bids that no client sent: {unsent[:_SHOWN]}")
    return Comparison(
        archived=len(bids),
        lost=lost,
        conflicts=conflicts,
        reasons=reasons,
        unknown_archived=len(unclaimed) - len(unsent),
        problems=problems,
        losses=losses,
        kept_apart=kept_apart,
        shown_otherwise=sum(
            shown.get((kept.item, kept.seq), event) != event for event, kept in bids.items()
        ),
    )
