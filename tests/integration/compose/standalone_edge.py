"""The edge with its real configuration, but a fake name server and fake replicas on loopback.

This makes dozens of replicas, a silent name server and well-timed crashes easy to test.
"""

import asyncio
import os
import re
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from uuid import uuid4

import aiohttp
from aiohttp import web

from pkg.devkit.ports import free_ports
from pkg.trials.waiting import until
from tests.integration.compose.leftovers import OWNER, owned
from tests.integration.devkit.conftest import docker

CONFIGURATION = Path(__file__).resolve().parents[3] / "compose" / "haproxy.cfg"
IMAGE = os.environ.get("HAPROXY_IMAGE", "haproxy:2.6-alpine")

_A, _OPT = 1, 41
_PLAIN_BYTES = 512  # limit for clients without EDNS (RFC 6891)


@dataclass
class FakeNameServer(asyncio.DatagramProtocol):
    """Answers like Docker's name server: uncompressed, and truncated if too long."""

    replicas: dict[str, list[str]]
    silent: bool = False
    unanswered: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.silent:
            self.unanswered += 1
            return
        end = data.index(b"\0", 12) + 1
        name, question = data[12:end], data[12 : end + 4]
        kind, _ = struct.unpack(">HH", data[end : end + 4])
        (additional,) = struct.unpack(">H", data[10:12])
        room = _PLAIN_BYTES
        if additional:
            more, room = struct.unpack(">HH", data[end + 5 : end + 9])
            assert more == _OPT
        host = ".".join(_labels(name))
        addresses = self.replicas.get(host, []) if kind == _A else []
        records = [
            name + struct.pack(">HHIH4B", _A, 1, 1, 4, *map(int, address.split(".")))
            for address in addresses
        ]
        truncated = 12 + len(question) + sum(map(len, records)) > room
        if truncated:
            records = []
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | truncated << 9, 1, len(records), 0, 0)
        self._transport.sendto(head + question + b"".join(records), addr)


def _labels(name: bytes) -> list[str]:
    found = []
    while length := name[0]:
        found.append(name[1 : 1 + length].decode())
        name = name[1 + length :]
    return found


@dataclass
class StandaloneEdge:
    main_port: int
    api_port: int
    broadcast_port: int
    """In the stack these are 8000, 8080 and 8081."""
    stats_port: int
    """The port of its health check and statistics."""
    name_server: FakeNameServer
    gateways_die: bool = False
    """Whether gateways drop the connection when they receive a bid."""
    bids: list[bytes] = field(default_factory=list)
    """The body of each bid that reached a gateway."""

    async def ask(self, port: int, path: str, **headers: str) -> tuple[int, dict[str, str]]:
        """Returns the status, and the replica's address and the headers that it received."""
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://127.0.0.1:{port}{path}", headers=headers) as answer,
        ):
            body: dict[str, str] = await answer.json()
            return answer.status, body

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            self.bids.append(await request.read())
            if self.gateways_die:
                assert request.transport
                request.transport.abort()
        if request.path.startswith("/ws"):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.receive()
            return socket
        assert request.transport
        replica = request.transport.get_extra_info("sockname")[0]
        seen = [(name.lower(), value) for name, value in request.headers.items()]
        assert len(dict(seen)) == len(seen), "a header came twice"
        return web.json_response({"replica": replica, **dict(seen)})


@asynccontextmanager
async def standalone_edge(
    folder: Path, *, gateways: int = 1, broadcasters: int = 1, most_viewers: int = 7000
) -> AsyncIterator[StandaloneEdge]:
    """The block begins when the edge has found every replica."""
    main, api, broadcast, stats, gateway_port, broadcaster_port = free_ports(6)
    gateway_addresses = [f"127.0.1.{number}" for number in range(1, gateways + 1)]
    broadcaster_addresses = [f"127.0.2.{number}" for number in range(1, broadcasters + 1)]
    async with AsyncExitStack() as opened:
        transport, names = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: FakeNameServer(
                {"api-gateway": gateway_addresses, "broadcast-service": broadcaster_addresses}
            ),
            local_addr=("127.0.0.1", 0),
        )
        opened.callback(transport.close)
        edge = StandaloneEdge(main, api, broadcast, stats, names)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", edge.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        opened.push_async_callback(runner.cleanup)
        for addresses, port in (
            (gateway_addresses, gateway_port),
            (broadcaster_addresses, broadcaster_port),
        ):
            for address in addresses:
                await web.TCPSite(runner, address, port).start()
        name_server = transport.get_extra_info("sockname")[1]
        name = f"bidding-edge-{uuid4().hex[:8]}"
        opened.enter_context(owned(name))
        await start_edge(
            name,
            folder,
            {
                "127.0.0.11:53": f"127.0.0.1:{name_server}",
                "bind :8000": f"bind 127.0.0.1:{main}",
                "bind :8080": f"bind 127.0.0.1:{api}",
                "bind :8081": f"bind 127.0.0.1:{broadcast}",
                "127.0.0.1:8404": f"127.0.0.1:{stats}",
                "api-gateway:8080": f"api-gateway:{gateway_port}",
                "broadcast-service:8081": f"broadcast-service:{broadcaster_port}",
                "ge 7000 ": f"ge {most_viewers} ",
            },
        )
        opened.push_async_callback(asyncio.to_thread, docker, "rm", "-f", "-v", name)
        await until(
            lambda: has_found(edge, gateways + broadcasters),
            within_s=20,
            forgiving=(aiohttp.ClientError,),
            log=lambda: docker("logs", name),
        )
        yield edge


async def start_edge(name: str, folder: Path, changes: dict[str, str]) -> None:
    """Starts the edge on the host's network, with `changes` made to its configuration."""
    text = CONFIGURATION.read_text()
    for before, after in changes.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    file = folder / "haproxy.cfg"
    file.write_text(text)
    file.chmod(0o644)
    await asyncio.to_thread(
        docker,
        *("run", "-d", "--name", name, "--label", f"{OWNER}={name}", "--network=host"),
        *("--user=99:99", "--read-only", "--cap-drop=ALL", "--ulimit=nofile=20000"),
        *("-v", f"{file}:/usr/local/etc/haproxy/haproxy.cfg:ro", IMAGE),
    )


async def has_found(edge: StandaloneEdge, number: int) -> bool:
    """Whether the edge has found that many replicas."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{edge.stats_port}/servers;csv") as answer,
    ):
        return len(re.findall(r"^\w+,replica-.*,UP,", await answer.text(), re.MULTILINE)) == number
