"""A fake service that the supervisor can run.

MODE: `serve`, `unready`, `exit` (at once, with code 2) or `deaf` (ignores SIGTERM and requests).
It answers every public request with its pid.
"""

import asyncio
import os
import signal
import socket
import sys

from aiohttp import web

DRAIN_S = 0.3


class FakeService:
    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._draining = False
        self._stop = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/ready":
            ready = self._mode != "unready" and not self._draining
            return web.Response(status=200 if ready else 503)
        response = web.Response(text=str(os.getpid()))
        if self._draining:
            response.force_close()
        return response

    async def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        app = web.Application()
        app.router.add_route("*", "/{anything:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        sites = [web.SockSite(runner, inherited) for inherited in inherited_sockets()]
        for site in sites:
            await site.start()
        await self._stop.wait()
        self._draining = True
        for site in sites[1:]:
            await site.stop()
        await asyncio.sleep(DRAIN_S)
        await runner.cleanup()


def inherited_sockets() -> list[socket.socket]:
    """The admin socket first, then the public one if there is one."""
    addresses = (os.environ.get(name, "") for name in ("ADMIN_ADDR", "SERVER_ADDR"))
    return [socket.socket(fileno=int(text[3:])) for text in addresses if text.startswith("fd:")]


if __name__ == "__main__":
    mode = os.environ.get("MODE", "serve")
    if mode == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(f"{mode} as {os.getpid()}", file=sys.stderr, flush=True)  # noqa: T201 - its log
    if mode == "exit":
        sys.exit(2)
    if mode == "deaf":
        signal.pause()
    asyncio.run(FakeService(mode).run())
