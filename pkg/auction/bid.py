"""A bid and what can become of it."""

from dataclasses import dataclass
from enum import StrEnum


class Strategy(StrEnum):
    """How the compare-and-set is done: in one script, or by WATCH / MULTI / EXEC."""

    LUA = "lua"
    OPTIMISTIC = "optimistic"


@dataclass(frozen=True, slots=True)
class Bid:
    """A valid bid on its way to Redis."""

    item_id: str
    user_id: str
    amount_cents: int
    event_id: str
    bid_id: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bid is the item's standing one, and its event is in the outbox."""

    seq: int


@dataclass(frozen=True, slots=True)
class TooLow:
    """The bid does not beat the standing one. Nothing was written."""

    price_cents: int


Outcome = Accepted | TooLow
