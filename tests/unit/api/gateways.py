"""A gateway on a real socket, over a ledger in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pkg.api.bidding.gateway import Gateway
from pkg.api.bidding.ledger import Items
from pkg.api.bidding.optimistic import RoundCounts
from pkg.api.bidding.prices import PriceCounts
from pkg.api.errors import ApiError
from pkg.api.metrics import GatewayMetrics
from pkg.auction.bid import Accepted, Bid, Outcome, Strategy, TooLow
from pkg.auction.item import ItemState
from pkg.runtime.metrics import registry_of
from pkg.runtime.origins import Origins
from pkg.runtime.readiness import Readiness


@dataclass
class MemoryLedger:
    """The bidding rule. ``fails``, if set, is raised instead; ``gate``, if cleared, delays bids."""

    items: dict[str, ItemState] = field(default_factory=dict)
    placed: list[Bid] = field(default_factory=list)
    fails: BaseException | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def place(self, bid: Bid, known_new: str = "") -> Outcome:
        del known_new
        self.asked += 1
        await self.gate.wait()
        self.placed.append(bid)
        if self.fails:
            raise self.fails
        state = self.items.get(bid.item_id, ItemState())
        if bid.amount_cents <= state.price_cents:
            return TooLow(state.price_cents)
        self.items[bid.item_id] = ItemState(
            price_cents=bid.amount_cents,
            bidder=bid.user_id,
            seq=state.seq + 1,
            count=state.count + 1,
            event_id=bid.event_id,
            opened_at="2026-01-01T00:00:00.000000Z",
        )
        return Accepted(seq=state.seq + 1)


class MemoryItems(Items):
    """Reads what a MemoryLedger holds."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def read(self, item_id: str, known_new: str = "") -> ItemState:
        del known_new
        if isinstance(self._ledger.fails, ApiError):
            raise self._ledger.fails
        return self._ledger.items.get(item_id, ItemState())


@dataclass
class RunningGateway:
    port: int
    ledger: MemoryLedger
    optimistic: MemoryLedger
    readiness: Readiness
    metrics: GatewayMetrics


@asynccontextmanager
async def running_gateway(
    *, strategy_override: bool = True, connections_max: int = 1000
) -> AsyncIterator[RunningGateway]:
    ledger = MemoryLedger()
    optimistic = MemoryLedger(items=ledger.items)
    readiness = Readiness("api-gateway")
    metrics = GatewayMetrics(
        prices=PriceCounts(),
        rounds=RoundCounts(),
        in_flight=lambda: 0,
        connects=lambda: 1,
        redis_refusals={},
    )
    gateway = Gateway(
        ledgers={Strategy.LUA: ledger, Strategy.OPTIMISTIC: optimistic},
        strategy=Strategy.LUA,
        strategy_override=strategy_override,
        items=MemoryItems(ledger),
        metrics=metrics,
        readiness=readiness,
        registry=registry_of(metrics),
        connections_max=connections_max,
        origins=Origins(["https://shop.example"]),
    )
    server = gateway.server()
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield RunningGateway(
            port=listening.sockets[0].getsockname()[1],
            ledger=ledger,
            optimistic=optimistic,
            readiness=readiness,
            metrics=metrics,
        )
    finally:
        listening.close()
        await server.shutdown(0.5)
