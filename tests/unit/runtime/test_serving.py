"""A process that is told to end before it began to accept."""

import asyncio

import aiohttp
from aiohttp import web

from pkg.runtime.readiness import Readiness
from pkg.runtime.serving import Listener, bind, serve_until
from pkg.runtime.settings import Address, ServingSettings


async def test_what_came_while_it_started_is_answered_until_the_balancer_has_taken_notice() -> None:
    settings = ServingSettings(start_grace_s=60, deregister_s=0.5, drain_s=0)
    readiness = Readiness("api-gateway")
    readiness.watch("redis", lambda: "down")

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=503)

    listener = Listener(bind(Address("127.0.0.1", 0)), web.Server(answer), readiness)
    stop = asyncio.Event()
    stop.set()

    serving = asyncio.create_task(serve_until(stop, listener, settings))

    async with aiohttp.ClientSession() as client:
        async with asyncio.timeout(5):
            got = await client.get(f"http://127.0.0.1:{listener.port}/ready")
        assert got.status == 503
    await serving
