"""Shutdown of a listener: before it accepts connections, and with idle ones open."""

import asyncio

import aiohttp
from aiohttp import web

from pkg.runtime.readiness import Readiness
from pkg.runtime.serving import Listener, bind, serve_until
from pkg.runtime.settings.parsers import Address
from pkg.runtime.settings.sections import ServingSettings


async def test_stop_during_start_still_answers_for_the_deregistration_time() -> None:
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


async def test_idle_connections_do_not_outlast_the_shutdown_timeout() -> None:
    settings = ServingSettings(start_grace_s=0, drain_s=60, shutdown_timeout_s=1.2)
    readiness = Readiness("api-gateway")

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response()

    listener = Listener(bind(Address("127.0.0.1", 0)), web.Server(answer), readiness)
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_until(stop, listener, settings))

    async with aiohttp.ClientSession() as client:
        await client.get(f"http://127.0.0.1:{listener.port}/health")
        stop.set()

        async with asyncio.timeout(5):
            await serving
