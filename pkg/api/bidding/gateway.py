"""The gateway's routes on aiohttp's low-level server; each answer is one write.

aiohttp's Application costs 15-25 µs a request in routing, middlewares and header objects; five
routes need none of that. aiohttp still parses HTTP.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import cast
from urllib.parse import unquote

from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler
from prometheus_client import CollectorRegistry

from pkg.api.bidding import answers
from pkg.api.bidding.bid_request import MAX_BODY_BYTES, bid_from_body, checked_item_id
from pkg.api.bidding.ledger import Items, Ledger
from pkg.api.bidding.witness import Witness
from pkg.api.errors import (
    ApiError,
    BadRequest,
    BodyTooLarge,
    BodyTooSlow,
    MethodNotAllowed,
    NotFound,
    NotHttp,
)
from pkg.api.http_server import GatewayServer
from pkg.api.metrics import GatewayMetrics
from pkg.auction.bid import Accepted, Strategy
from pkg.runtime import logs
from pkg.runtime import readiness as pages
from pkg.runtime.readiness import Page, Readiness

_ITEMS = "/api/v1/items/"
_STRATEGY_HEADER = "X-Bid-Strategy"
_WRITE_BUFFER_MAX_BYTES = 64 * 1024
BODY_TIMEOUT_S = 10.0
KEEPALIVE_S = 75.0  # above the load balancer's idle time-out (65 s on AWS), so that it closes first

log = logs.get("gateway")


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


class Gateway:
    """Answers requests. One per process."""

    def __init__(
        self,
        *,
        ledgers: Mapping[Strategy, Ledger],
        strategy: Strategy,
        strategy_override: bool,
        items: Items,
        metrics: GatewayMetrics,
        readiness: Readiness,
        registry: CollectorRegistry,
        connections_max: int,
        witness: Witness | None = None,
    ) -> None:
        self._ledgers = ledgers
        self._ledger = ledgers[strategy]
        self._strategy_override = strategy_override
        self._items = items
        self._metrics = metrics
        self._readiness = readiness
        self._connections_max = connections_max
        self._witness = witness
        self._pages: dict[str, Callable[[], Page]] = {
            "/health": lambda: pages.health_page(readiness),
            "/ready": lambda: pages.ready_page(readiness),
            "/metrics": lambda: pages.metrics_page(registry),
        }

    def server(self) -> web.Server:
        """The protocol factory to listen with."""
        loop = asyncio.get_running_loop()

        def request_of(
            message: RawRequestMessage,
            payload: StreamReader,
            protocol: RequestHandler,
            writer: AbstractStreamWriter,
            task: asyncio.Task[None],
        ) -> web.BaseRequest:
            return web.BaseRequest(
                message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY_BYTES
            )

        handler = cast("Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]", self.handle)
        server = GatewayServer(
            handler,
            refuse=self._refuse_unreadable,
            connections_max=self._connections_max,
            request_factory=request_of,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
        )
        self._metrics.connections = lambda: (len(server.connections), server.refused)
        return server

    def _refuse_unreadable(self) -> web.StreamResponse:
        error = NotHttp()
        self._metrics.count_error(error.code)
        data = answers.render(error.status, answers.error_page(error).body, keep_alive=False)
        return cast("web.StreamResponse", Answer(data, keep_alive=False))

    async def handle(self, request: web.BaseRequest) -> Answer:
        keep_alive = request.keep_alive
        extra = b""
        try:
            page = await self._page(request)
        except ApiError as error:
            self._metrics.count_error(error.code)
            page, extra = answers.error_page(error), answers.error_headers(error)
            keep_alive = keep_alive and not isinstance(error, BodyTooLarge | BodyTooSlow)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # an answer for the client, a traceback for us
            log.exception("unexpected error", method=request.method, path=request.raw_path)
            self._metrics.count_error("internal_error")
            page = answers.INTERNAL_ERROR
        # Checked last: a drain may have started while we were answering.
        keep_alive = keep_alive and not self._readiness.draining
        if keep_alive and request.version.minor == 0:
            extra += b"Connection: keep-alive\r\n"
        data = answers.render(
            page.status,
            page.body,
            keep_alive=keep_alive,
            extra=extra,
            content_type="" if page.content_type == "application/json" else page.content_type,
        )
        if request.method == hdrs.METH_HEAD:
            data = data[: len(data) - len(page.body)]
        return Answer(data, keep_alive=keep_alive)

    async def _page(self, request: web.BaseRequest) -> Page:
        path, _, _ = request.raw_path.partition("?")
        if path.startswith(_ITEMS):
            rest = path[len(_ITEMS) :]
            if rest.endswith("/bid"):
                return await self._bid(request, _segment(rest[:-4]))
            return await self._item(request, _segment(rest))
        page = self._pages.get(path)
        if page is None:
            raise NotFound
        _allow(request, hdrs.METH_GET)
        return page()

    async def _item(self, request: web.BaseRequest, item_id: str) -> Page:
        _allow(request, hdrs.METH_GET)
        started = time.perf_counter()
        page = answers.item_page(item_id, await self._items.read(checked_item_id(item_id)))
        self._metrics.count_read(time.perf_counter() - started)
        return page

    async def _bid(self, request: web.BaseRequest, item_id: str) -> Page:
        _allow(request, hdrs.METH_POST)
        started = time.perf_counter()
        bid = bid_from_body(checked_item_id(item_id), await _body(request))
        ledger = self._chosen_ledger(request)
        outcome = await ledger.place(bid)
        accepted = isinstance(outcome, Accepted)
        if isinstance(outcome, Accepted) and self._witness is not None:
            self._witness.saw(bid, outcome.seq)
        self._metrics.count_bid(time.perf_counter() - started, accepted=accepted)
        return answers.outcome_page(bid, outcome)

    def _chosen_ledger(self, request: web.BaseRequest) -> Ledger:
        name = request.headers.get(_STRATEGY_HEADER)
        if name is None:
            return self._ledger
        if not self._strategy_override:
            raise BadRequest(
                f"{_STRATEGY_HEADER} is switched off here", code="strategy_override_off"
            )
        try:
            return self._ledgers[Strategy(name)]
        except ValueError:
            raise BadRequest(
                f"{_STRATEGY_HEADER} must be one of {', '.join(Strategy)}", code="strategy_unknown"
            ) from None


def _allow(request: web.BaseRequest, method: str) -> None:
    asked = request.method
    if asked != method and (asked != hdrs.METH_HEAD or method != hdrs.METH_GET):
        raise MethodNotAllowed("GET, HEAD" if method == hdrs.METH_GET else method)


def _segment(raw: str) -> str:
    """Decodes one path segment; ``checked_item_id`` refuses invalid ids later."""
    if "/" in raw:
        raise NotFound
    return unquote(raw, errors="replace") if "%" in raw else raw


async def _body(request: web.BaseRequest) -> bytes:
    if (length := request.content_length) is not None and length > MAX_BODY_BYTES:
        raise BodyTooLarge
    if hdrs.EXPECT in request.headers and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        if request.content.is_eof():  # nearly every body arrives with its head
            return await request.read()
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise BodyTooSlow from None
    except web.HTTPRequestEntityTooLarge:
        raise BodyTooLarge from None
    except (web.RequestPayloadError, ValueError):
        # A broken chunk, or a body that does not match its content encoding.
        raise BadRequest from None
