"""A broadcaster's HTTP routes, up to the handshake. Every error is JSON."""

import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import msgspec
from aiohttp import hdrs, web

from pkg.auction.ids import MAX_ID_LENGTH, is_identifier
from pkg.broadcast import frames
from pkg.broadcast.allowance import Allowance, Metered
from pkg.broadcast.audience import Audience, AudienceFullError, ItemUnreadableError
from pkg.broadcast.metrics import Counts
from pkg.broadcast.settings import BroadcastSettings
from pkg.broadcast.viewer import Mode, Viewer, ViewerSocket
from pkg.runtime.origins import Origins
from pkg.runtime.readiness import Page, Readiness

RETRY_AFTER_S = 1
_KEY_BYTES = 16

AUDIENCE = web.AppKey("AUDIENCE", Audience)
READINESS = web.AppKey("READINESS", Readiness)
SETTINGS = web.AppKey("SETTINGS", BroadcastSettings)
COUNTS = web.AppKey("COUNTS", Counts)
ORIGINS = web.AppKey("ORIGINS", Origins)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):  # noqa: N818 - HTTP's own word for it
    """The request was refused; no viewer was connected. ``code`` is for programs."""

    def __init__(self, status: HTTPStatus, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence


async def watch(request: web.Request) -> web.StreamResponse:
    """Connects a viewer and reads from it until it leaves."""
    item_id = _item_id(request)
    mode = _mode(request)
    _expect_handshake(request)
    _require_allowed_origin(request)
    settings = request.app[SETTINGS]
    _refuse_while_draining(request)
    try:
        async with request.app[AUDIENCE].channel(item_id) as channel:
            _refuse_while_draining(request)  # draining may have begun while the item was read
            connection = ViewerSocket(ping_s=settings.ping_s)
            await connection.prepare(request)
            transport = request.transport
            if transport is None or transport.is_closing():
                return connection
            viewer = Viewer(request, transport, mode, buffer_bytes=settings.viewer_buffer_bytes)
            connection.viewer = viewer
            channel.join(viewer)
            if request.app[READINESS].draining:
                viewer.close(frames.GOING_AWAY)
            too_much = partial(_close_flooding, viewer, request.app[COUNTS])
            messages, reads = (
                Allowance(settings.viewer_messages_per_s, time.monotonic()) for _ in range(2)
            )
            transport.set_protocol(Metered(request.protocol, reads, too_much=too_much))
            try:
                if not await connection.read_until_closed(messages):
                    too_much()
            finally:
                channel.leave(viewer)
            return connection
    except AudienceFullError:
        raise Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE, "viewers_full", "Too many viewers on this server"
        ) from None
    except ItemUnreadableError:
        raise Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE, "redis_unavailable", "The item cannot be read now"
        ) from None


def _close_flooding(viewer: Viewer, counts: Counts) -> None:
    counts.flooding_viewers_closed += viewer.open
    viewer.close(frames.POLICY_VIOLATION)


def _refuse_while_draining(request: web.Request) -> None:
    if request.app[READINESS].draining:
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "draining", "This server is going away")


def _require_allowed_origin(request: web.Request) -> None:
    """Browsers send handshakes of any page, and the CORS rules do not hold for them."""
    origin = request.headers.get(hdrs.ORIGIN)
    host = request.headers.get(hdrs.HOST, "")
    if origin is not None and not request.app[ORIGINS].allow(origin, host=host):
        raise Refusal(
            HTTPStatus.FORBIDDEN, "origin_refused", "Pages of this origin may not watch here"
        )


async def stats(request: web.Request) -> web.Response:
    item_id = _item_id(request)
    body = {"itemId": item_id, "subscribers": request.app[AUDIENCE].subscribers(item_id)}
    return Page(HTTPStatus.OK, msgspec.json.encode(body)).response()


ROUTES = [
    web.get("/ws/items/{item_id}", watch, allow_head=False),
    web.get("/ws", watch, allow_head=False),
    web.get("/stats/items/{item_id}", stats),
]


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return _refused(refusal)
    except web.HTTPException as error:
        status = HTTPStatus(error.status)
        code = status.phrase.lower().replace(" ", "_")
        response = _refused(Refusal(status, code, status.phrase.capitalize()))
        if hdrs.ALLOW in error.headers:
            response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return response


async def close_while_draining(request: web.Request, response: web.StreamResponse) -> None:
    """Makes clients send their next request elsewhere. A signal handler of aiohttp's."""
    if request.app[READINESS].draining:
        response.force_close()


def _refused(refusal: Refusal) -> web.Response:
    body = msgspec.json.encode({"error": refusal.sentence, "code": refusal.code})
    response = Page(refusal.status, body).response()
    if refusal.status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_S)
    if refusal.status is HTTPStatus.UPGRADE_REQUIRED:
        response.headers[hdrs.UPGRADE] = "websocket"
        response.headers[hdrs.CONNECTION] = "upgrade"
    return response


def _item_id(request: web.Request) -> str:
    item_id = request.match_info.get("item_id") or request.query.get("item_id", "")
    if not is_identifier(item_id):
        raise Refusal(
            HTTPStatus.BAD_REQUEST,
            "item_id_invalid",
            f"Item ID must be 1 to {MAX_ID_LENGTH} of A-Z a-z 0-9 . _ : -",
        )
    return item_id


def _mode(request: web.Request) -> Mode:
    try:
        return Mode(request.query.get("mode", Mode.EVENTS))
    except ValueError:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, "mode_invalid", "mode must be events or latest"
        ) from None


def _expect_handshake(request: web.Request) -> None:
    """RFC 6455, 4.2.1. aiohttp checks too, but answers in plain text and fails on some keys."""
    if request.headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket":
        raise Refusal(
            HTTPStatus.UPGRADE_REQUIRED, "upgrade_required", "This is a WebSocket address"
        )
    try:
        key = base64.b64decode(request.headers.get(hdrs.SEC_WEBSOCKET_KEY, ""), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES or not web.WebSocketResponse().can_prepare(request).ok:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, "handshake_invalid", "The WebSocket handshake is malformed"
        )
