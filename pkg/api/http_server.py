"""aiohttp's low-level server, without its error page and traceback for unreadable requests."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

Refuse = Callable[[], web.StreamResponse]


class GatewayServer(web.Server):
    """A protocol factory; ``refuse`` makes the answer to an unreadable request.

    Connections beyond ``connections_max`` are cut at once and counted in ``refused``.
    """

    def __init__(
        self,
        handler: Any,  # noqa: ANN401 - aiohttp's
        *,
        refuse: Refuse,
        connections_max: int,
        **options: Any,  # noqa: ANN401 - aiohttp's
    ) -> None:
        super().__init__(handler, **options)
        self._refuse = refuse
        self._connections_max = connections_max
        self.refused = 0

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        if len(self._connections) >= self._connections_max:
            self.refused += 1
            transport.abort()
        else:
            super().connection_made(handler, transport)

    def __call__(self) -> RequestHandler:
        return _Connection(self, refuse=self._refuse, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    __slots__ = ("_refuse",)

    def __init__(
        self,
        server: web.Server,
        *,
        refuse: Refuse,
        loop: asyncio.AbstractEventLoop,
        **options: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        super().__init__(server, loop=loop, **options)
        self._refuse = refuse

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Logs nothing: anybody can send garbage to a port, and ``refuse`` counts it.

        The gateway's handler answers its own errors, so only disconnects and unreadable requests
        get here.
        """
        del request, status, message
        if isinstance(exc, ConnectionError):
            raise exc  # the client is gone
        return self._refuse()
