"""Reads a request's body, within limits of size and time."""

import asyncio
import zlib

from aiohttp import hdrs, web

from pkg.api.bidding.bid_request import MAX_BODY_BYTES
from pkg.api.errors import BadRequest, BodyTooLarge, BodyTooSlow, CodingNotTaken

BODY_TIMEOUT_S = 10.0
CODINGS = "gzip, deflate, identity"

_WITH_HEADER = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS}
_ZLIB_METHOD = 8  # the low half of a zlib stream's first byte; some clients send deflate bare


async def read_body(request: web.BaseRequest) -> bytes:
    """Raises ApiError: the body is too large, too slow, broken, or of another coding."""
    coding = request.headers.get(hdrs.CONTENT_ENCODING)
    if coding is not None:
        coding = coding.strip().lower()
        if coding not in {"", "identity", "deflate", *_WITH_HEADER}:
            raise CodingNotTaken
    try:
        if request.content.is_eof():  # nearly every body arrives with its head
            data = await request.read()
        else:
            data = await _awaited(request)
    except TimeoutError:
        raise BodyTooSlow from None
    except web.HTTPRequestEntityTooLarge:
        raise BodyTooLarge from None
    except (web.RequestPayloadError, ValueError):  # a broken chunk
        raise BadRequest from None
    return _decompressed(data, coding) if coding and coding != "identity" else data


async def _awaited(request: web.BaseRequest) -> bytes:
    """A body that is still on its way, and may wait for us to ask for it."""
    if (length := request.content_length) is not None and length > MAX_BODY_BYTES:
        raise BodyTooLarge
    if hdrs.EXPECT in request.headers and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async with asyncio.timeout(BODY_TIMEOUT_S):
        return await request.read()


def _decompressed(data: bytes, coding: str) -> bytes:
    window = _WITH_HEADER.get(coding)
    if window is None:
        bare = data[:1] and data[0] & 0xF != _ZLIB_METHOD
        window = -zlib.MAX_WBITS if bare else zlib.MAX_WBITS
    decompressor = zlib.decompressobj(window)
    try:
        plain = decompressor.decompress(data, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise BadRequest from None
    if len(plain) > MAX_BODY_BYTES:
        raise BodyTooLarge
    if not decompressor.eof or decompressor.unused_data:
        raise BadRequest
    return plain
