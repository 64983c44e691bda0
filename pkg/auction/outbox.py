"""Ids of outbox entries, which order a partition's events."""

from typing import NamedTuple


class OutboxId(NamedTuple):
    """A Redis stream id: milliseconds of Redis' clock and a counter. Compares in stream order."""

    ms: int
    n: int

    @classmethod
    def parse(cls, text: str | bytes) -> "OutboxId":
        """Reads ``"1700000000000-0"``.

        Raises:
            ValueError: the text is not two plain numbers joined by a hyphen.
        """
        if isinstance(text, bytes):
            text = text.decode("ascii")
        ms, hyphen, n = text.partition("-")
        if not (hyphen and ms.isdecimal() and n.isdecimal() and text.isascii()):
            raise ValueError(f"not an outbox id: {text!r}")
        return cls(int(ms), int(n))

    def next(self) -> "OutboxId":
        """The smallest id above this one; pass it to XTRIM MINID to remove this one too."""
        return OutboxId(self.ms, self.n + 1)

    def __str__(self) -> str:
        return f"{self.ms}-{self.n}"


BEGINNING = OutboxId(0, 0)
"""Before every entry; Redis refuses an entry with this id."""
