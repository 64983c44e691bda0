"""An accepted bid as its gateway remembers it, and its text in Redis."""

from dataclasses import dataclass
from typing import Self

WITNESSED_MAX = 50_000
"""Bids of one partition that are kept for the audit; more are counted, not written."""
WITNESSED_TTL_S = 7 * 24 * 3600
"""After a week without a recovery they go: whoever audits has looked by then."""


@dataclass(frozen=True, slots=True)
class Witnessed:
    event_id: str
    item_id: str
    seq: int
    user_id: str
    cents: int

    @property
    def text(self) -> str:
        """All but the event_id, which is the field's name. No id has a space in it."""
        return f"{self.item_id} {self.seq} {self.user_id} {self.cents}"

    @classmethod
    def parse(cls, event_id: str, text: str) -> Self:
        """Raises ValueError: not as ``text`` made it."""
        item_id, seq, user_id, cents = text.split(" ")
        return cls(event_id, item_id, int(seq), user_id, int(cents))
