"""A load balancer in this process, and targets behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiohttp import ClientSession, WSMsgType, web

from localstack.emulator.load_balancer.link import LoadBalancer
from localstack.emulator.load_balancer.routing import Target
from pkg.trials.waiting import until

GROUP = "api"


class Service:
    """A target. Its health and the time it takes can be changed while it runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.healthy = True
        self.probed = 0
        self.seen: list[web.BaseRequest] = []
        self.answer = asyncio.Event()
        self.answer.set()
        self.port = 0
        self.running = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/health":
            self.probed += 1
            return web.Response(status=200 if self.healthy else 503)
        self.seen.append(request)
        if request.path.startswith("/ws"):
            return await self._echo(request)
        self.running += 1
        try:
            await self.answer.wait()
            return web.json_response({"by": self.name, "body": await request.text()})
        finally:
            self.running -= 1

    async def _echo(self, request: web.BaseRequest) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(f"hello from {self.name}")
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket

    @property
    def said(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.port, "draining": False}


@contextlib.asynccontextmanager
async def service(name: str) -> AsyncIterator[Service]:
    this = Service(name)
    runner = web.ServerRunner(web.Server(this.handle), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    this.port = runner.addresses[0][1]
    try:
        yield this
    finally:
        this.answer.set()
        await runner.cleanup()


def forward(group: str = GROUP) -> dict[str, Any]:
    return {"conditions": [], "action": {"type": "forward", "group": group}}


def on_path(*patterns: str, action: dict[str, Any]) -> dict[str, Any]:
    return {"conditions": [{"kind": "path-pattern", "values": patterns}], "action": action}


def group(*services: Service, sticky_s: int | None = None, **check: object) -> dict[str, Any]:
    return {
        "sticky_s": sticky_s,
        "check": {
            "path": "/health",
            "port": None,
            "interval_s": 0.05,
            "timeout_s": 1.0,
            "healthy_after": 2,
            "unhealthy_after": 2,
            "statuses": "200",
            **check,
        },
        "targets": [each.said for each in services],
    }


def records(*rules: dict[str, Any], groups: dict[str, Any], **others: object) -> dict[str, Any]:
    return {
        "idle_timeout_s": 5.0,
        "drop_invalid_fields": True,
        "forwarded_for": "append",
        "published": {},
        "listeners": {"80": {"protocol": "HTTP", "rules": rules}},
        "groups": groups,
        **others,
    }


class Balanced:
    def __init__(self, balancer: LoadBalancer, session: ClientSession) -> None:
        self.balancer = balancer
        self.session = session

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.balancer.port_of(80)}"

    def target(self, service: Service, name: str = GROUP) -> Target:
        return self.balancer.records.groups[name].targets[f"127.0.0.1:{service.port}"]

    async def is_told(self, said: dict[str, Any]) -> None:
        await self.balancer.take_over(said)

    async def finds(self, state: str, services: Sequence[Service], name: str = GROUP) -> None:
        await until(
            lambda: all(self.target(each, name).health.state == state for each in services),
            within_s=5,
            what=f"all are {state}",
        )

    async def answer_of(self, path: str = "/", **options: Any) -> str:  # noqa: ANN401
        async with self.session.get(self.url + path, **options) as answer:
            assert answer.status == 200, answer.status
            return str((await answer.json())["by"])


@contextlib.asynccontextmanager
async def balanced() -> AsyncIterator[Balanced]:
    balancer = LoadBalancer(host="127.0.0.1", ports=lambda _: 0)
    async with ClientSession() as session:
        try:
            yield Balanced(balancer, session)
        finally:
            await balancer.close()
