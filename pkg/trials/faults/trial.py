"""One run of a row: the system under load, and what the fault notes."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pkg.trials.crowd.bidders import ITEMS, RATE_PER_S, Amounts, Bidders
from pkg.trials.crowd.ledger import Ledger
from pkg.trials.crowd.viewers import Viewers
from pkg.trials.faults.containers.container import Container
from pkg.trials.faults.protocols import Replica, Services, Stores
from pkg.trials.faults.proxy import Proxy
from pkg.trials.faults.second import Second


@dataclass
class Trial:
    stores: Stores
    services: Services
    ledger: Ledger
    viewers: Viewers
    short: bool
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    """By store name. Empty unless the row is `proxied`."""
    containers: Mapping[str, Sequence[Container]] = field(default_factory=dict)
    """By service or store name. Empty on processes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """For commands such as the audit: settings, with the stores' own addresses, not proxies."""
    amounts: Amounts = field(default_factory=Amounts)
    """Of every load of this trial."""
    second: Second | None = None
    """A second Redis and gateways on it, not started. None on containers."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the report."""
    problems: list[str] = field(default_factory=list)
    """Why the fault did not do what the row needs, in sentences."""
    fault_at: float | None = None
    ended_at: float | None = None
    _back_at: float | None = None

    async def hold(self, full_s: float, *, short_s: float) -> None:
        """Waits while the fault lasts."""
        await asyncio.sleep(short_s if self.short else full_s)

    def fault_begins(self) -> None:
        """Marks the moment of the kill: `Row.forgets_s` counts back from here."""
        self.fault_at = time.monotonic()

    def fault_ends(self) -> None:
        """Marks the end of the fault. Default: when the row's fault function returns."""
        self.ended_at = time.monotonic()

    def everything_is_back(self) -> None:
        """For a fault that ended for bidders while a store was still away: `Result.whole_s` counts
        from here.
        """
        self._back_at = time.monotonic()

    @property
    def whole_from(self) -> float | None:
        """The moment from which the archive could become whole."""
        return self._back_at or self.ended_at

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def require(self, fact: object, otherwise: str) -> None:
        """Fails the row with `otherwise` if its fault did not have the needed effect."""
        if not fact:
            self.problems.append(otherwise)

    async def kill_and_restart(self, replica: Replica, *, after_s: float = 0.5) -> None:
        await replica.process.kill()
        await replica.restart(after_s=after_s)

    @asynccontextmanager
    async def second_load(
        self, port: int, *, items: Sequence[str] = ITEMS, elsewhere: bool = False
    ) -> AsyncIterator[Ledger]:
        """Bids at half the rate on another gateway while the block runs. Then its accepted bids
        count for the verdict, unless the gateway uses stores of `elsewhere`; its failures do not.
        """
        ledger = Ledger()
        bidders = Bidders(
            port, ledger, amounts=self.amounts, items=items, rate_per_s=RATE_PER_S / 2
        )
        bidding = asyncio.create_task(bidders.run())
        try:
            yield ledger
            bidders.stop()
            await bidding
        finally:
            bidding.cancel()
            await asyncio.gather(bidding, return_exceptions=True)
            if not elsewhere:
                self.ledger.absorb(ledger)

    async def outbox_entries(self) -> int:
        """The number of entries in all outboxes."""
        async with self.stores.redis_client() as redis:
            return sum([await redis.xlen(key) async for key in redis.scan_iter("{p*}:outbox")])

    async def current_seqs(self, items: Iterable[str]) -> dict[str, int]:
        """Reads each item's seq from Redis."""
        wanted = set(items)
        found = {}
        async with self.stores.redis_client() as redis:
            async for key in redis.scan_iter("{p*}:item:*", count=1000):
                item = str(key).partition(":item:")[2]
                if item in wanted:
                    found[item] = int(await redis.hget(key, "seq") or 0)
        return found
