"""Renders answers as bytes: the only place where results and errors become HTTP."""

import time

import msgspec

from pkg.api.bidding.body import CODINGS
from pkg.api.errors import ApiError, CodingNotTaken, Unavailable
from pkg.auction.bid import Accepted, Bid, Outcome
from pkg.auction.item import ItemState
from pkg.auction.money import text_from_cents
from pkg.runtime.readiness import Page

RETRY_AFTER_S = 1

_REASONS = {
    200: "OK",
    201: "Created",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class _Clock:
    """The Date header, rendered once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        now = int(time.time())
        if now != self._second:
            self._second = now
            stamp = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))
            self._line = f"Date: {stamp}\r\n".encode()
        return self._line


_clock = _Clock()
_heads = {status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in _REASONS.items()}
_JSON = b"Content-Type: application/json\r\nContent-Length: "


def render(
    status: int, body: bytes, *, keep_alive: bool, extra: bytes = b"", content_type: str = ""
) -> bytes:
    """A whole HTTP/1.1 answer. ``extra`` holds more header lines, each ending in CR LF."""
    kind = _JSON
    if content_type:
        kind = f"Content-Type: {content_type}\r\nContent-Length: ".encode()
    connection = b"" if keep_alive else b"Connection: close\r\n"
    return b"%b%b%b%b%b%d\r\n\r\n%b" % (
        *(_heads[status], _clock.line(), extra, connection, kind),
        *(len(body), body),
    )


def outcome_page(bid: Bid, outcome: Outcome) -> Page:
    """201 for an accepted bid, 200 for one that a rule refused."""
    yours = text_from_cents(bid.amount_cents)
    if isinstance(outcome, Accepted):
        text = (
            f'{{"success":true,"message":"Bid placed successfully!","current_bid":{yours},'
            f'"your_bid":{yours},"is_highest":true,"event_id":"{bid.event_id}","seq":{outcome.seq}}}'
        )
        return Page(201, text.encode())
    price = text_from_cents(outcome.price_cents)
    text = (
        f'{{"success":false,"message":"Bid too low. Current highest bid is ${price}",'
        f'"reason":"too_low","current_bid":{price},"your_bid":{yours},"is_highest":false}}'
    )
    return Page(200, text.encode())


def item_page(item_id: str, state: ItemState) -> Page:
    """The first bid creates an item, so its name is its id and it has no end time."""
    bidder = f'"highest_bidder_id":"{state.bidder}",' if state.bidder else ""
    opened = f'"{state.opened_at}"' if state.opened_at else "null"
    text = (
        f'{{"id":"{item_id}","name":"{item_id}","description":"","start_price":0.00,'
        f'"current_bid":{text_from_cents(state.price_cents)},{bidder}"status":"{state.status}",'
        f'"seq":{state.seq},"bid_count":{state.count},"start_time":{opened},"end_time":null}}'
    )
    return Page(200, text.encode())


def error_page(error: ApiError) -> Page:
    return Page(error.status, msgspec.json.encode({"error": error.sentence, "code": error.code}))


def error_headers(error: ApiError) -> bytes:
    if isinstance(error, Unavailable):
        return b"Retry-After: %d\r\n" % RETRY_AFTER_S
    if isinstance(error, CodingNotTaken):
        return b"Accept-Encoding: %b\r\n" % CODINGS.encode()
    return b"Allow: %b\r\n" % error.allow.encode() if error.allow else b""


VARY_BY_ORIGIN = b"Vary: Origin\r\n"
PREFLIGHT = Page(200, b"", "text/plain")
"""To a browser that asks before it sends another origin's request (the Fetch standard's CORS)."""


def cross_origin_headers(origin: str) -> bytes:
    """For a page of another origin that may use us. ``origin`` came as a header: no line end."""
    return (
        b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Allow-Methods: GET, HEAD, POST\r\n"
        b"Access-Control-Allow-Headers: Content-Type, X-Bid-Strategy\r\n"
        b"Access-Control-Expose-Headers: Retry-After\r\nAccess-Control-Max-Age: 600\r\n%b"
        % (origin.encode("latin-1", errors="replace"), VARY_BY_ORIGIN)
    )


INTERNAL_ERROR = Page(500, b'{"error":"Internal error","code":"internal_error"}')
