"""aiohttp's low-level server with limits, and without its version, error page and traceback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

FIRST_REQUEST_S = 30.0
"""How long a new connection may take to send its first request head."""
NOT_HTTP = b'{"error":"Not a readable HTTP request","code":"invalid_http"}'
_NOT_HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(NOT_HTTP), NOT_HTTP)
)
_WRITE_BUFFER_MAX_BYTES = 64 * 1024


class Answer:
    """The part of a response that aiohttp's server uses, for bytes already rendered."""

    __slots__ = ("_data", "keep_alive")

    def __init__(self, data: bytes, *, keep_alive: bool) -> None:
        self._data = data
        self.keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        transport.write(self._data)
        if transport.get_write_buffer_size() > _WRITE_BUFFER_MAX_BYTES:
            await request.writer.drain()

    async def write_eof(self) -> None:
        """``prepare`` has written everything."""


class HttpServer(web.Server):
    """A protocol factory, to listen with.

    Connections beyond ``connections_max`` are cut at once and counted in ``refused``. What is not
    HTTP is answered 400, and ``on_unreadable`` is called.
    """

    def __init__(
        self,
        handler: Any,  # noqa: ANN401 - aiohttp's
        *,
        connections_max: int | None = None,
        on_unreadable: Callable[[], None] | None = None,
        **options: Any,  # noqa: ANN401 - aiohttp's
    ) -> None:
        super().__init__(handler, access_log=None, **options)
        self._connections_max = connections_max
        self.on_unreadable = on_unreadable
        self.refused = 0

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        if self._connections_max is not None and len(self._connections) >= self._connections_max:
            self.refused += 1
            transport.abort()
        else:
            super().connection_made(handler, transport)

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    __slots__ = ("_first_request", "_server")

    def __init__(
        self,
        server: HttpServer,
        *,
        loop: asyncio.AbstractEventLoop,
        **options: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        super().__init__(server, loop=loop, **options)
        self._server = server
        self._first_request: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._first_request = self._loop.call_later(FIRST_REQUEST_S, self._require_request)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._first_request is not None:
            self._first_request.cancel()
        super().connection_lost(exc)

    def _require_request(self) -> None:
        """Aiohttp's keep-alive time-out starts only with the first request."""
        if not self._request_count:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Logs nothing: anybody can send garbage to a port.

        Handlers answer their own errors, so only disconnects and unreadable requests get here.
        """
        del request, status, message
        if isinstance(exc, ConnectionError):
            raise exc  # the client is gone
        if self._server.on_unreadable is not None:
            self._server.on_unreadable()
        return Answer(_NOT_HTTP_ANSWER, keep_alive=False)  # type: ignore[return-value]


@asynccontextmanager
async def serving_app(app: web.Application) -> AsyncIterator[HttpServer]:
    """Starts the application and gives the protocol factory that serves it."""
    app.on_response_prepare.append(_without_version)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        made = runner.server
        assert made is not None  # noqa: S101 - setup makes it
        yield HttpServer(made.request_handler, request_factory=made.request_factory)
    finally:
        await runner.cleanup()


async def _without_version(_: web.Request, response: web.StreamResponse) -> None:
    """Aiohttp names Python's version and its own in every response."""
    response.headers.pop("Server", None)


def path_of(target: str) -> str:
    """The path of a request target without its query.

    A client of a plain proxy sends the whole URL (RFC 9112, 3.2.2).
    """
    path, _, _ = target.partition("?")
    if path.startswith("/"):
        return path
    scheme, mark, rest = path.partition("://")
    if mark and scheme.lower() in {"http", "https"}:
        return "/" + rest.partition("/")[2]
    return path
