"""Listening, accepting and draining, alike for every service.

Replicas on one machine share a listening socket that their supervisor bound. Each works on a
duplicate, so one that closes its own leaves the queue of waiting connections to the others.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry

from pkg.runtime import logs
from pkg.runtime import readiness as pages
from pkg.runtime.http_server import serving_app
from pkg.runtime.readiness import Readiness
from pkg.runtime.settings.parsers import Address
from pkg.runtime.settings.sections import ServingSettings

BACKLOG = 4096
_POLL_S = 0.02
_CLOSING_S = 1.0  # of SHUTDOWN_TIMEOUT_S, what the end of everything behind the listener may take

log = logs.get("serving")


def bind(address: Address) -> socket.socket:
    """A listening socket: a new one, or a duplicate of the inherited one.

    Raises:
        OSError: the address is taken, or the inherited descriptor is no socket.
    """
    if address.fd is not None:
        listener = socket.socket(fileno=os.dup(address.fd))
    else:
        family = socket.AF_INET6 if address.host and ":" in address.host else socket.AF_INET
        listener = socket.create_server(
            (address.host or "", address.port), family=family, backlog=BACKLOG
        )
    listener.setblocking(False)
    return listener


class Listener:
    """Accepts connections for one ``web.Server`` until it drains."""

    def __init__(self, listener: socket.socket, server: web.Server, readiness: Readiness) -> None:
        self._socket = listener
        self._server = server
        self._readiness = readiness
        self._accepting: asyncio.Server | None = None

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    async def accept(self) -> None:
        """Accepts from now on, if it does not already."""
        if self._accepting is not None:
            return
        loop = asyncio.get_running_loop()
        # Known before it starts: one cancelled in between is closed all the same.
        self._accepting = await loop.create_server(
            self._server, sock=self._socket.dup(), backlog=BACKLOG, start_serving=False
        )
        await self._accepting.start_serving()

    async def accept_when_ready(self, *, grace_s: float) -> None:
        """Accepts once the service is ready, and after the grace whatever is missing.

        A replica that starts beside a working one takes no request it cannot serve; where none
        works, clients get a plain 503 rather than a connection that hangs.
        """
        deadline = asyncio.get_running_loop().time() + grace_s
        while not self._readiness.ready and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_S)
        await self.accept()
        log.info("accepting", port=self.port, ready=self._readiness.ready)

    def announce_end(self) -> None:
        """Not ready any more, while connections are still accepted."""
        self._readiness.draining = True

    def stop_accepting(self) -> None:
        self.announce_end()
        if self._accepting is not None:
            self._accepting.close()
        self._socket.close()

    async def drain(self, *, idle_s: float, limit_s: float) -> None:
        """Stops accepting, answers what was asked, then closes what is left.

        Idle keep-alive connections are served for ``idle_s`` more, every answer with
        ``Connection: close``: a client that was about to ask gets its answer, not a reset.
        ``limit_s`` is the time for all of it, be there a client that never reads its answer.
        """
        loop = asyncio.get_running_loop()
        self.stop_accepting()
        idle_s = min(idle_s, limit_s)
        idle_until = loop.time() + idle_s
        while self._server.connections and loop.time() < idle_until:
            await asyncio.sleep(_POLL_S)
        self._server.pre_shutdown()
        # aiohttp waits this long for the handlers, then as long again for their cancellation.
        await self._server.shutdown(max(0.1, (limit_s - idle_s) / 2))


@asynccontextmanager
async def admin(
    settings: ServingSettings, readiness: Readiness, registry: CollectorRegistry
) -> AsyncIterator[None]:
    """Health, readiness and metrics of this very process, where ADMIN_ADDR says so."""
    if settings.admin_addr is None:
        yield
        return
    app = web.Application()
    app.add_routes(pages.routes(readiness, registry))
    async with serving_app(app) as server:
        listening = await asyncio.get_running_loop().create_server(
            server, sock=bind(settings.admin_addr), backlog=BACKLOG
        )
        try:
            yield
        finally:
            listening.close()
            await server.shutdown(_CLOSING_S)


async def serve_until(
    stop: asyncio.Event,
    listener: Listener,
    settings: ServingSettings,
    *,
    before_drain: Callable[[], None] | None = None,
) -> None:
    """Accepts until ``stop`` is set, then drains. ``before_drain`` runs once accepting ended.

    Replicas behind one socket leave the queue of connections to each other, so accepting ends at
    once. A load balancer goes on sending until it has asked for ``/ready`` again: it gets answers
    for ``deregister_s``, each with ``Connection: close``.
    """
    accepting = asyncio.create_task(listener.accept_when_ready(grace_s=settings.start_grace_s))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({accepting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if accepting.done():
            accepting.result()
        await stopped
    finally:
        accepting.cancel()
        stopped.cancel()
    log.info("draining")
    listener.announce_end()
    if settings.deregister_s:
        await listener.accept()  # ended while it started: what came meanwhile is answered too
        await asyncio.sleep(settings.deregister_s)
    listener.stop_accepting()
    if before_drain is not None:
        before_drain()
    await listener.drain(idle_s=settings.drain_s, limit_s=settings.shutdown_timeout_s - _CLOSING_S)
    log.info("drained")
