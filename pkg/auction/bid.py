"""A bid and its possible outcomes."""

from enum import StrEnum

import msgspec


class Strategy(StrEnum):
    """How the compare-and-set is done: in one script, or by WATCH / MULTI / EXEC."""

    LUA = "lua"
    OPTIMISTIC = "optimistic"


class Bid(msgspec.Struct, frozen=True):
    """A valid bid on its way to Redis."""

    item_id: str
    user_id: str
    amount_cents: int
    event_id: str
    bid_id: str


class Accepted(msgspec.Struct, frozen=True):
    """The bid is now the standing one of its item. Its event is in the outbox."""

    seq: int


class TooLow(msgspec.Struct, frozen=True):
    """The bid does not beat the standing one. Nothing was written."""

    price_cents: int


Outcome = Accepted | TooLow
