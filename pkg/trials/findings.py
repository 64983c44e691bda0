"""The audit's findings, from its JSON."""

from collections.abc import Awaitable, Mapping
from typing import Protocol

import msgspec

_SHOWN = 2
_AUDITED_WITHIN_S = 60.0


class AuditUnableError(Exception):
    """The audit could not read both stores, so there are no findings."""


class Command(Protocol):
    """Runs `python -m pkg.archival …`: exit code, standard output, standard error."""

    def __call__(
        self, *arguments: str, environment: Mapping[str, str], within_s: float
    ) -> Awaitable[tuple[int, str, str]]: ...


class FailingItem(msgspec.Struct, frozen=True):
    item_id: str
    problems: list[str]


class DeadLetter(msgspec.Struct, frozen=True):
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
    dead_letters: list[DeadLetter]
    dead_letters_in_all: int
    lost: list[LostBid]
    superseded: int = 0
    """Bids that were accepted by a Redis after another one was opened in its place."""

    @property
    def items(self) -> set[str]:
        """Items that fail the audit or have a dead letter listed."""
        listed = {letter.item_id for letter in self.dead_letters if letter.item_id}
        return {item.item_id for item in self.failing} | set(self.only_in_postgres) | listed

    @property
    def letters(self) -> str:
        """The number of dead letters and the first reasons."""
        first = [f"{letter.reason}: {letter.error}" for letter in self.dead_letters[:_SHOWN]]
        return f"{self.dead_letters_in_all} dead letters ({'; '.join(first)})"

    @property
    def summary(self) -> str:
        first = [f"{item.item_id}: {', '.join(item.problems)}" for item in self.failing[:_SHOWN]]
        return (
            f"{len(self.failing)} items fail ({'; '.join(first) or 'none'}), "
            f"{len(self.only_in_postgres)} are only in PostgreSQL, "
            f"{self.dead_letters_in_all} dead letters, {len(self.lost)} lost bids are named, "
            f"{self.superseded} bids are superseded"
        )


async def audit(
    command: Command, *, environment: Mapping[str, str], wait_s: float
) -> tuple[int, Findings]:
    """The audit's exit code and findings.

    Raises:
        AuditUnableError: it could not read the stores.
    """
    code, stdout, stderr = await command(
        *("audit", "--json", "--wait", f"{wait_s:g}"),
        environment=environment,
        within_s=wait_s + _AUDITED_WITHIN_S,
    )
    if code not in {0, 1} or not stdout.strip():
        raise AuditUnableError(f"the audit ended with {code}: {stderr[-2000:]}")
    return code, msgspec.json.decode(stdout, type=Findings)
