"""Bidders with a ledger of their answers, and viewers with a record of their frames."""

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

WORDS = ("busy",)
"""Codes of refusals that a contended bidder may meet; everything else is a defect."""


@dataclass(frozen=True, order=True)
class Placed:
    """A bid as whoever tells of it: a 201, a frame, a row."""

    seq: int
    event_id: str
    amount: Decimal


@dataclass
class Ledger:
    """What the bidders were answered."""

    accepted: list[Placed] = field(default_factory=list)
    too_low: int = 0
    busy: int = 0

    def note(self, status: int, body: dict[str, Any]) -> None:
        match status:
            case 201:
                self.accepted.append(
                    Placed(body["seq"], body["event_id"], Decimal(body["your_bid"]))
                )
            case 200:
                assert body["reason"] == "too_low", body
                assert body["your_bid"] <= body["current_bid"], body
                self.too_low += 1
            case _:
                assert (status, body.get("code") in WORDS) == (503, True), (status, body)
                self.busy += 1


async def place_bids(
    api: Service,
    item: str,
    amounts: Sequence[Decimal],
    *,
    connections: int,
    strategies: Sequence[str],
) -> Ledger:
    """Every connection places its share of the amounts, one after the other.

    All place their next one at the same moment: none runs ahead of the others.
    """
    ledger = Ledger()
    together = asyncio.Barrier(connections)

    async def bidder(number: int) -> None:
        async with aiohttp.ClientSession(
            api.url, connector=aiohttp.TCPConnector(limit=1)
        ) as client:
            for turn, amount in enumerate(amounts[number::connections]):
                strategy = strategies[(number + turn) % len(strategies)]
                await together.wait()
                async with client.post(
                    f"/api/v1/items/{item}/bid",
                    data=f'{{"user_id":"bidder-{number}","amount":{amount}}}'.encode(),
                    headers={"X-Bid-Strategy": strategy},
                ) as answer:
                    body = json.loads(await answer.read(), parse_float=Decimal)
                    ledger.note(answer.status, body)

    async with asyncio.TaskGroup() as tasks:
        for number in range(connections):
            tasks.create_task(bidder(number))
    return ledger


@dataclass
class Viewer:
    """One WebSocket and all it was told."""

    socket: aiohttp.ClientWebSocketResponse
    first: dict[str, Any] = field(default_factory=dict)
    frames: list[dict[str, Any]] = field(default_factory=list)

    async def listen(self) -> None:
        async for message in self.socket:
            frame = json.loads(message.data, parse_float=Decimal)
            if not self.first:
                self.first = frame
            else:
                self.frames.append(frame)

    @property
    def seen(self) -> list[Placed]:
        """Fails when anything but bids was told after the first message."""
        return [
            Placed(frame["seq"], frame["event_id"], Decimal(frame["amount"]))
            for frame in self.frames
        ]

    @property
    def seq(self) -> int:
        return int(self.frames[-1]["seq"] if self.frames else self.first.get("seq", -1))


@asynccontextmanager
async def viewers(broadcast: Service, item: str, count: int) -> AsyncIterator[list[Viewer]]:
    """All of them greeted when the block begins."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        made = [
            Viewer(await client.ws_connect(f"{broadcast.websocket_url}/ws/items/{item}"))
            for _ in range(count)
        ]
        listening = [asyncio.create_task(one.listen()) for one in made]
        try:
            await until(lambda: all(one.first for one in made), within_s=10)
            yield made
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
            for one in made:
                await one.socket.close()


async def archived(postgres_url: str, item: str) -> list[Placed]:
    """The item's rows by seq."""
    connection = await asyncpg.connect(postgres_url)
    try:
        rows = await connection.fetch(
            "SELECT seq, event_id, amount FROM bids WHERE item_id = $1 ORDER BY seq", item
        )
    finally:
        await connection.close()
    return [Placed(row["seq"], str(row["event_id"]), row["amount"]) for row in rows]
