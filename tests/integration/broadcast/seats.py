"""Viewers that keep up: what they see, and what they must have seen."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import aiohttp

from tests.integration.processes import Service

Message = dict[str, Any]
SNAPSHOT_FIELDS = {"type", "itemId", "seq", "current_bid", "highest_bidder_id", "status"}


class Seat:
    """A connected viewer that reads all it is sent."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[Message] = []
        self.arrived: list[float] = []
        self.greeting: Message = {}

    async def next(self, *, within_s: float = 15.0) -> Message:
        return self._take(await self.socket.receive_str(timeout=within_s))

    def _take(self, text: str) -> Message:
        self.arrived.append(asyncio.get_running_loop().time())
        message: Message = json.loads(text, parse_float=Decimal)
        self.seen.append(message)
        return message

    async def see(self, *, seq: int, within_s: float = 20.0) -> list[Message]:
        """All that comes up to and with ``seq``."""
        async with asyncio.timeout(within_s):
            while (await self.next(within_s=within_s))["seq"] != seq:
                pass
        return self.seen

    async def close_code(self, *, within_s: float = 15.0) -> int | None:
        """Reads on until the server says good-bye."""
        async with asyncio.timeout(within_s):
            async for message in self.socket:
                self._take(message.data)
        return self.socket.close_code

    @property
    def seqs(self) -> list[int]:
        return [message["seq"] for message in self.seen]


class Seats:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self._taken: list[Seat] = []

    async def take(self, service: Service, item_id: str, query: str = "") -> Seat:
        """Greeted when this returns."""
        socket = await self.session.ws_connect(f"{service.url}/ws/items/{item_id}{query}")
        seat = Seat(socket)
        self._taken.append(seat)  # one that nobody holds is closed by the garbage collector
        seat.greeting = await seat.next()
        seat.seen.clear()
        seat.arrived.clear()
        return seat

    async def metric(self, service: Service, name: str) -> float:
        """Of a service with one replica; ``name`` with its labels, as Prometheus' text has it."""
        async with self.session.get(f"{service.url}/metrics") as answer:
            for line in (await answer.text()).splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split(" ")[-1])
        raise AssertionError(f"no metric {name}")
