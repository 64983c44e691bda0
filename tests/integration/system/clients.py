"""Bidders that record their responses, and viewers that record their frames."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp
import asyncpg

from pkg.trials.waiting import until
from tests.integration.processes import Service

REFUSALS_UNDER_CONTENTION = ("busy",)
"""Codes of 503s that are allowed under contention; all others are defects."""


@dataclass(frozen=True, order=True)
class AcceptedBid:
    """An accepted bid, from a 201, a frame or a row."""

    seq: int
    event_id: str
    amount: Decimal


@dataclass
class Ledger:
    """The responses that bidders got."""

    accepted: list[AcceptedBid] = field(default_factory=list)
    too_low: int = 0
    busy: int = 0

    def record(self, status: int, body: dict[str, Any]) -> None:
        match status:
            case 201:
                self.accepted.append(
                    AcceptedBid(body["seq"], body["event_id"], Decimal(body["your_bid"]))
                )
            case 200:
                assert body["reason"] == "too_low", body
                assert body["your_bid"] <= body["current_bid"], body
                self.too_low += 1
            case _:
                assert (status, body.get("code") in REFUSALS_UNDER_CONTENTION) == (503, True), (
                    status,
                    body,
                )
                self.busy += 1


async def place_bids(
    api: Service,
    item: str,
    amounts: Sequence[Decimal],
    *,
    connections: int,
    strategies: Sequence[str],
) -> Ledger:
    """Each connection places its share of the amounts, in order.

    All connections send their next bid at the same moment.
    """
    ledger = Ledger()
    barrier = asyncio.Barrier(connections)

    async def bidder(number: int) -> None:
        async with aiohttp.ClientSession(
            api.url, connector=aiohttp.TCPConnector(limit=1)
        ) as client:
            for turn, amount in enumerate(amounts[number::connections]):
                strategy = strategies[(number + turn) % len(strategies)]
                await barrier.wait()
                async with client.post(
                    f"/api/v1/items/{item}/bid",
                    data=f'{{"user_id":"bidder-{number}","amount":{amount}}}'.encode(),
                    headers={"X-Bid-Strategy": strategy},
                ) as answer:
                    body = json.loads(await answer.read(), parse_float=Decimal)
                    ledger.record(answer.status, body)

    async with asyncio.TaskGroup() as tasks:
        for number in range(connections):
            tasks.create_task(bidder(number))
    return ledger


@dataclass
class Viewer:
    """One WebSocket, its greeting and the frames after it."""

    socket: aiohttp.ClientWebSocketResponse
    greeting: dict[str, Any] = field(default_factory=dict)
    frames: list[dict[str, Any]] = field(default_factory=list)

    async def listen(self) -> None:
        async for message in self.socket:
            frame = json.loads(message.data, parse_float=Decimal)
            if not self.greeting:
                self.greeting = frame
            else:
                self.frames.append(frame)

    @property
    def bids(self) -> list[AcceptedBid]:
        """The frames as bids. Fails if any is not a bid."""
        return [
            AcceptedBid(frame["seq"], frame["event_id"], Decimal(frame["amount"]))
            for frame in self.frames
        ]

    @property
    def seq(self) -> int:
        return int(self.frames[-1]["seq"] if self.frames else self.greeting.get("seq", -1))


@asynccontextmanager
async def viewers(broadcast: Service, item: str, count: int) -> AsyncIterator[list[Viewer]]:
    """Connected viewers; the block begins when all have their greeting."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        made = [
            Viewer(await client.ws_connect(f"{broadcast.websocket_url}/ws/items/{item}"))
            for _ in range(count)
        ]
        listening = [asyncio.create_task(one.listen()) for one in made]
        try:
            await until(lambda: all(one.greeting for one in made), within_s=10)
            yield made
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
            for one in made:
                await one.socket.close()


async def archived(postgres_url: str, item: str) -> list[AcceptedBid]:
    """The item's archived bids, by seq."""
    connection = await asyncpg.connect(postgres_url)
    try:
        rows = await connection.fetch(
            "SELECT seq, event_id, amount FROM bids WHERE item_id = $1 ORDER BY seq", item
        )
    finally:
        await connection.close()
    return [AcceptedBid(row["seq"], str(row["event_id"]), row["amount"]) for row in rows]
