"""The audit's own findings, as its JSON gives them."""

import msgspec

_SHOWN = 2


class FailingItem(msgspec.Struct, frozen=True):
    item_id: str
    problems: list[str]


class Letter(msgspec.Struct, frozen=True):
    item_id: str | None
    event_id: str | None
    reason: str
    error: str


class LostBid(msgspec.Struct, frozen=True):
    item_id: str
    event_id: str
    amount: str

    @property
    def cents(self) -> int:
        return int(self.amount.replace(".", ""))


class Findings(msgspec.Struct, frozen=True):
    failing: list[FailingItem]
    only_in_postgres: list[str]
    dead_letters: list[Letter]
    dead_letters_in_all: int
    lost: list[LostBid]

    @property
    def items(self) -> set[str]:
        """Every item that the audit names as wrong, or of which it lists a dead letter."""
        listed = {letter.item_id for letter in self.dead_letters if letter.item_id}
        return {item.item_id for item in self.failing} | set(self.only_in_postgres) | listed

    @property
    def letters(self) -> str:
        """Why there are dead letters, by the first of them."""
        first = [f"{letter.reason}: {letter.error}" for letter in self.dead_letters[:_SHOWN]]
        return f"{self.dead_letters_in_all} dead letters ({'; '.join(first)})"

    @property
    def summary(self) -> str:
        first = [f"{item.item_id}: {', '.join(item.problems)}" for item in self.failing[:_SHOWN]]
        return (
            f"{len(self.failing)} items fail ({'; '.join(first) or 'none'}), "
            f"{len(self.only_in_postgres)} are only in PostgreSQL, "
            f"{self.dead_letters_in_all} dead letters, {len(self.lost)} lost bids are named"
        )
