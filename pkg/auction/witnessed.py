"""Accepted bids as their gateway remembers them, and their text in Redis."""

from dataclasses import dataclass
from typing import Self

WITNESSED_MAX = 50_000
"""Limit of bids kept per partition for the audit; more are counted and dropped."""
WITNESSED_TTL_S = 7 * 24 * 3600
"""Kept for a week after the last recovery: an audit should have run by then."""


@dataclass(frozen=True, slots=True)
class Witnessed:
    event_id: str
    item_id: str
    seq: int
    user_id: str
    cents: int

    @property
    def text(self) -> str:
        """All but the event_id, which is the hash field. No id contains a space."""
        return f"{self.item_id} {self.seq} {self.user_id} {self.cents}"

    @classmethod
    def parse(cls, event_id: str, text: str) -> Self:
        """Reads ``text``. Raises ValueError if it has another form."""
        item_id, seq, user_id, cents = text.split(" ")
        return cls(event_id, item_id, int(seq), user_id, int(cents))
