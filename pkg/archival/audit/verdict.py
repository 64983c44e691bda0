"""Compares one item in Redis with its record in the archive. No I/O."""

from dataclasses import dataclass

from pkg.auction.item import ItemState
from pkg.auction.money import text_from_cents


@dataclass(frozen=True, slots=True)
class ArchivedItem:
    """What the archive has of an item up to a seq; see ``sql/audit_items.sql``."""

    archived: int
    dead_lettered: int
    missing_inside: int
    first_missing: int | None
    reached: int
    twice: int
    first_fall: int | None
    last_cents: int | None
    last_event_ids: tuple[str, ...]
    last_seq: int
    item_agrees: bool | None


@dataclass(frozen=True, slots=True)
class Verdict:
    item_id: str
    state: ItemState
    record: ArchivedItem
    problems: tuple[str, ...]
    missing: int
    """Accepted events that are neither archived nor dead letters yet."""
    late: int = 0
    """How many of these an outbox still holds: they are not lost."""

    @property
    def only_late(self) -> bool:
        """Whether nothing else is wrong."""
        return 0 < self.missing == self.late and len(self.problems) == 1


def counted(number: int, noun: str) -> str:
    """``1 bid``, ``2 bids``. Only for nouns whose plural takes an s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def judge(
    item_id: str, state: ItemState, record: ArchivedItem, *, seq_since: int, waiting: int = 0
) -> Verdict:
    """Compares an item's state in Redis with the archive up to that state's seq.

    ``seq_since`` is the item's seq in Redis, read after the archive. The archive cannot be ahead of
    it unless Redis lost bids. ``waiting`` events were in the item's outbox and not archived, read
    before the archive.
    """
    missing = record.missing_inside + max(0, state.seq - record.reached)
    late = min(missing, waiting)
    problems: list[str] = []
    if missing:
        problems.append(_missing(state, record, missing=missing, late=late))
    if record.last_seq > seq_since:
        problems.append(f"the archive has seq {record.last_seq}, Redis only {seq_since}")
    if record.twice:
        problems.append(f"{record.twice} seq taken by more than one event")
    if record.first_fall is not None:
        problems.append(f"the price does not rise at seq {record.first_fall}")
    if not missing:
        problems += _at_the_last_seq(state, record)
    if record.item_agrees is False or (record.archived and record.item_agrees is None):
        problems.append("the archive's item disagrees with its bids")
    return Verdict(item_id, state, record, tuple(problems), missing, late)


def _missing(state: ItemState, record: ArchivedItem, *, missing: int, late: int) -> str:
    if not record.reached:
        what = f"only in Redis: none of {state.seq} accepted events is archived"
    else:
        first = record.first_missing or record.reached + 1
        what = f"{missing} of {state.seq} not archived, the first is seq {first}"
    if late == missing:
        return f"late: {what}; the outbox holds {'it' if missing == 1 else 'them'}"
    gone = missing - late
    are, them = ("is", "it") if gone == 1 else ("are", "them")
    return f"{what}; {gone} {are} not in the outbox either: lost, unless the stream has {them}"


def _at_the_last_seq(state: ItemState, record: ArchivedItem) -> list[str]:
    problems: list[str] = []
    # Every event is a bid today; other kinds will make seq exceed count.
    if state.count != record.archived + record.dead_lettered - record.twice:
        problems.append(f"Redis counts {state.count} bids of {state.seq} events")
    if record.last_cents is not None and record.last_cents != state.price_cents:
        problems.append(
            f"the last archived amount is {text_from_cents(record.last_cents)}, "
            f"the price in Redis is {text_from_cents(state.price_cents)}"
        )
    if state.seq and state.event_id not in record.last_event_ids:
        archived = " or ".join(record.last_event_ids)
        problems.append(
            f"the last archived event is {archived}, the last in Redis is {state.event_id}"
        )
    return problems
