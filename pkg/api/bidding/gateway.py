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
from pkg.api.bidding.body import read_body
from pkg.api.bidding.ledger import Items, Ledger
from pkg.api.bidding.returning import Returning
from pkg.api.bidding.witness import Witness
from pkg.api.errors import (
    ApiError,
    BadRequest,
    BodyTooLarge,
    MaybeArchived,
    MethodNotAllowed,
    NotFound,
    OriginRefused,
)
from pkg.api.metrics import GatewayMetrics
from pkg.auction.bid import Accepted, Strategy
from pkg.runtime import logs
from pkg.runtime import readiness as pages
from pkg.runtime.http_server import Answer, HttpServer, path_of
from pkg.runtime.origins import Origins
from pkg.runtime.readiness import Page, Readiness

_ITEMS = "/api/v1/items/"
_STRATEGY_HEADER = "X-Bid-Strategy"
KEEPALIVE_S = 75.0  # above the load balancer's idle time-out (65 s on AWS), so that it closes first

log = logs.get("gateway")


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
        origins: Origins,
        witness: Witness | None = None,
        returning: Returning | None = None,
    ) -> None:
        self._ledgers = ledgers
        self._ledger = ledgers[strategy]
        self._strategy_override = strategy_override
        self._items = items
        self._metrics = metrics
        self._readiness = readiness
        self._connections_max = connections_max
        self._origins = origins
        self._witness = witness
        self._returning = returning
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
        server = HttpServer(
            handler,
            connections_max=self._connections_max,
            on_unreadable=lambda: self._metrics.count_error("invalid_http"),
            request_factory=request_of,
            keepalive_timeout=KEEPALIVE_S,
            auto_decompress=False,  # it reports a body that does not decode after it went on
        )
        self._metrics.connections = lambda: (len(server.connections), server.refused)
        return server

    async def handle(self, request: web.BaseRequest) -> Answer:
        keep_alive = request.keep_alive
        extra = b""
        origin = request.headers.get(hdrs.ORIGIN)
        try:
            page = await (
                self._page(request) if origin is None else self._page_for(origin, request)
            )
        except ApiError as error:
            self._metrics.count_error(error.code)
            page, extra = answers.error_page(error), answers.error_headers(error)
            keep_alive = keep_alive and not isinstance(error, BodyTooLarge)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # an answer for the client, a traceback for us
            log.exception("unexpected error", method=request.method, path=request.raw_path)
            self._metrics.count_error("internal_error")
            page = answers.INTERNAL_ERROR
        if origin is not None:
            extra += self._cross_origin_headers(origin, request)
        # Checked last: a drain may have started while we were answering. A body that has not come
        # to its end is broken or late; aiohttp closes the connection rather than read on.
        keep_alive = keep_alive and request.content.is_eof() and not self._readiness.draining
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

    async def _page_for(self, origin: str, request: web.BaseRequest) -> Page:
        """What a web page is answered."""
        reads = request.method in {hdrs.METH_GET, hdrs.METH_HEAD}
        if not reads and not self._allows(origin, request):
            raise OriginRefused
        if (
            request.method == hdrs.METH_OPTIONS
            and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        ):
            return answers.PREFLIGHT
        return await self._page(request)

    def _allows(self, origin: str, request: web.BaseRequest) -> bool:
        return self._origins.allow(origin, host=request.headers.get(hdrs.HOST, ""))

    def _cross_origin_headers(self, origin: str, request: web.BaseRequest) -> bytes:
        if not self._allows(origin, request):
            return answers.VARY_BY_ORIGIN
        return answers.cross_origin_headers(origin)

    async def _page(self, request: web.BaseRequest) -> Page:
        path = request.raw_path
        if not path.startswith("/") or "?" in path:
            path = path_of(path)
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
        try:
            state = await self._items.read(checked_item_id(item_id))
        except MaybeArchived as maybe:
            if self._returning is None:
                raise
            state = await self._returning.read(self._items, item_id, maybe)
        page = answers.item_page(item_id, state)
        self._metrics.count_read(time.perf_counter() - started)
        return page

    async def _bid(self, request: web.BaseRequest, item_id: str) -> Page:
        _allow(request, hdrs.METH_POST)
        started = time.perf_counter()
        bid = bid_from_body(checked_item_id(item_id), await read_body(request))
        ledger = self._chosen_ledger(request)
        try:
            outcome = await ledger.place(bid)
        except MaybeArchived as maybe:
            if self._returning is None:
                raise
            outcome = await self._returning.place(ledger, bid, maybe)
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
