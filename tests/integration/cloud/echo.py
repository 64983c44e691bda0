"""A service for tests, run in the emulator's own image: it says what it sees of itself."""

import asyncio
import os
import resource
import signal
import socket
from pathlib import Path

from aiohttp import web

sick = False


async def health(_: web.Request) -> web.Response:
    return web.Response(status=503 if sick else 200)


async def fall_ill(_: web.Request) -> web.Response:
    global sick  # noqa: PLW0603
    sick = True
    return web.Response()


async def end(_: web.Request) -> web.Response:
    os._exit(3)


async def hello(request: web.Request) -> web.Response:
    await asyncio.sleep(float(request.query.get("seconds", "0")))
    return web.json_response({"host": socket.gethostname(), "fields": dict(request.headers)})


async def itself(_: web.Request) -> web.Response:
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    try:
        Path("/written").touch()
        writable = True
    except OSError:
        writable = False
    return web.json_response(
        {
            "user": os.getuid(),
            "capabilities": status["CapEff"],
            "writable": writable,
            "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "environment": dict(os.environ),
        }
    )


async def resolve(request: web.Request) -> web.Response:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(request.query["name"], None)
    except socket.gaierror:
        found = []
    return web.json_response(sorted({each[4][0] for each in found}))


async def note(request: web.Request) -> web.Response:
    Path("/data/note").write_bytes(await request.read())
    return web.Response()


async def noted(_: web.Request) -> web.Response:
    return web.Response(text=Path("/data/note").read_text())


async def viewer(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    async for message in connection:
        await connection.send_str(message.data)
    return connection


async def serve() -> None:
    app = web.Application()
    app.add_routes(
        [
            web.get("/health", health),
            web.post("/sick", fall_ill),
            web.post("/end", end),
            web.get("/itself", itself),
            web.get("/resolve", resolve),
            web.post("/note", note),
            web.get("/note", noted),
            web.get("/ws", viewer),
            web.get("/{tail:.*}", hello),
        ]
    )
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await asyncio.sleep(float(os.environ.get("STARTS_AFTER_S", "0")))
    runner = web.AppRunner(app, shutdown_timeout=2)
    await runner.setup()
    await web.TCPSite(runner, None, 8080).start()
    print("listening", flush=True)  # noqa: T201
    await ended.wait()
    print("ending", flush=True)  # noqa: T201
    await runner.cleanup()


asyncio.run(serve())
