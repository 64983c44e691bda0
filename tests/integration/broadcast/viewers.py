"""Viewers that read everything they are sent."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import aiohttp

from tests.integration.processes import Service

Message = dict[str, Any]
SNAPSHOT_FIELDS = {"type", "itemId", "seq", "current_bid", "highest_bidder_id", "status"}


class Viewer:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.received: list[Message] = []
        self.received_at: list[float] = []
        self.greeting: Message = {}

    async def receive(self, *, within_s: float = 15.0) -> Message:
        return self._record(await self.socket.receive_str(timeout=within_s))

    def _record(self, text: str) -> Message:
        self.received_at.append(asyncio.get_running_loop().time())
        message: Message = json.loads(text, parse_float=Decimal)
        self.received.append(message)
        return message

    async def receive_until(self, *, seq: int, within_s: float = 20.0) -> list[Message]:
        """Reads up to and including the message with ``seq``. Returns all messages so far."""
        async with asyncio.timeout(within_s):
            while (await self.receive(within_s=within_s))["seq"] != seq:
                pass
        return self.received

    async def close_code(self, *, within_s: float = 15.0) -> int | None:
        """Reads until the server closes. Returns the code of its close frame."""
        async with asyncio.timeout(within_s):
            async for message in self.socket:
                self._record(message.data)
        return self.socket.close_code

    @property
    def seqs(self) -> list[int]:
        return [message["seq"] for message in self.received]


class Viewers:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self._connected: list[Viewer] = []

    async def connect(self, service: Service, item_id: str, query: str = "") -> Viewer:
        """Returns after the greeting, which is kept apart from later messages."""
        socket = await self.session.ws_connect(f"{service.url}/ws/items/{item_id}{query}")
        viewer = Viewer(socket)
        self._connected.append(viewer)  # unreferenced, it would be closed
        viewer.greeting = await viewer.receive()
        viewer.received.clear()
        viewer.received_at.clear()
        return viewer

    async def metric(self, service: Service, name: str) -> float:
        """Reads a metric of the only replica. ``name`` includes labels, as in `/metrics`."""
        async with self.session.get(f"{service.url}/metrics") as answer:
            for line in (await answer.text()).splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split(" ")[-1])
        raise AssertionError(f"no metric {name}")
