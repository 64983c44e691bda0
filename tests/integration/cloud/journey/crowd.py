"""Bidders and viewers on the other side of the load balancer, and what became of their bids."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import asyncpg

from pkg.trials.crowd.archive import BIDS, LETTERS, judge
from pkg.trials.crowd.bidders import Bidders
from pkg.trials.crowd.ledger import AcceptedBid, Ledger
from pkg.trials.crowd.viewers import VIEWERS, Viewers
from pkg.trials.waiting import until
from tests.integration.cloud.deployment import Deployment

_OPENED_WITHIN_S = 60.0
_ARCHIVED_WITHIN_S = 90.0
"""An audit's own wait for the outbox is shorter."""


@dataclass(slots=True)
class Crowd:
    deployment: Deployment
    items: frozenset[str]
    viewers: Viewers
    ledger: Ledger = field(default_factory=Ledger)

    async def bids_on(self, count: int, *, within_s: float = 60.0) -> None:
        """Returns when that many more bids were accepted."""
        enough = len(self.ledger.accepted) + count
        await until(
            lambda: len(self.ledger.accepted) >= enough,
            within_s=within_s,
            every_s=0.1,
            what=f"{count} more bids are accepted",
            log=lambda: f"{self.failures()} {self.ledger.requests} requests",
        )

    def failures(self) -> list[str]:
        """Answers that no bidder should get, whatever is replaced behind the load balancer."""
        ledger = self.ledger
        failed = [f"{count} bids failed: {code}" for code, count in ledger.failed.items()]
        unknown = [f"{len(ledger.unknown)} outcomes are unknown"] if ledger.unknown else []
        return [*failed, *unknown, *ledger.defects[:5]]

    async def everybody_saw_the_last_bid(self) -> None:
        last: dict[str, int] = {}
        for bid in self.ledger.accepted.values():
            last[bid.item] = max(bid.seq, last.get(bid.item, 0))
        await until(
            lambda: self.viewers.behind(last) == 0,
            within_s=60,
            every_s=0.2,
            what="every viewer has been shown the last bid",
        )
        seen = self.viewers.seen()
        assert (seen.unrepaired, seen.duplicates, seen.falls, seen.resets) == (0, 0, 0, 0), seen

    async def every_bid_is_archived(self) -> None:
        """Each accepted bid once, as it was answered and shown, and no other."""
        postgres = await asyncpg.connect(self.deployment.postgres_url)
        try:
            await until(
                lambda: self._archived(postgres),
                within_s=_ARCHIVED_WITHIN_S,
                every_s=0.5,
                what=f"{len(self.ledger.accepted)} bids are archived",
            )
            rows = await postgres.fetch(f"{BIDS} WHERE item_id = ANY($1)", list(self.items))
            letters = await postgres.fetch(LETTERS)
        finally:
            await postgres.close()
        comparison = judge(
            self.ledger,
            {
                str(row["event_id"]): AcceptedBid(row["item_id"], row["seq"], row["cents"])
                for row in rows
            },
            {str(row["event_id"]): str(row["reason"]) for row in letters},
            self.viewers.shown,
        )
        assert [*comparison.losses, *comparison.problems] == []
        assert comparison.shown_otherwise == self.viewers.contradictions == 0

    async def _archived(self, postgres: "asyncpg.Connection[asyncpg.Record]") -> bool:
        count = await postgres.fetchval(
            "SELECT count(*) FROM bids WHERE item_id = ANY($1)", list(self.items)
        )
        return bool(count >= len(self.ledger.accepted))


@asynccontextmanager
async def crowd(
    deployment: Deployment, items: Sequence[str], *, rate_per_s: float = 80
) -> AsyncIterator[Crowd]:
    """Bids and watches while the block runs; four bidders for each mention of an item.

    Each client keeps its connection. The block ends when every bid was answered and shown.
    """
    names = tuple(dict.fromkeys(items))
    port = await asyncio.to_thread(lambda: deployment.port)
    this = Crowd(deployment, frozenset(names), Viewers(port, items=names))
    bidders = Bidders(port, this.ledger, items=items, rate_per_s=rate_per_s)
    watching = asyncio.create_task(this.viewers.run())
    bidding: asyncio.Task[None] | None = None
    try:
        await until(
            lambda: this.viewers.open == VIEWERS,
            within_s=_OPENED_WITHIN_S,
            what="every viewer is connected",
        )
        bidding = asyncio.create_task(bidders.run())
        await this.bids_on(50)
        yield this
        await this.bids_on(50)
        bidders.stop()
        await bidding
        await this.everybody_saw_the_last_bid()
    finally:
        for task in filter(None, (watching, bidding)):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
