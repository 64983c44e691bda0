"""Bodies of every size and form: chunked, compressed, too large, none."""

import gzip
import zlib

import pytest

from tests.unit.api.gateways import RunningGateway
from tests.unit.api.http_client import (
    RawClient,
    bid_request,
    chunk,
    chunked_bid_request,
    request,
)

ANN_200 = b'{"user_id":"ann","amount":200}'
LIMIT = 64 * 1024


def padded(size: int) -> bytes:
    """A valid body of exactly this many bytes."""
    return ANN_200[:-1] + b',"x":"' + b"x" * (size - len(ANN_200) - 7) + b'"}'


async def test_a_body_of_64_kib_is_read(client: RawClient) -> None:
    assert len(padded(LIMIT)) == LIMIT

    assert (await client.ask(bid_request(padded(LIMIT)))).status == 201


async def test_a_body_one_byte_over_is_413_and_closes_the_connection(
    client: RawClient, gateway: RunningGateway
) -> None:
    reply = await client.ask(bid_request(padded(LIMIT + 1)))

    assert (reply.status, reply.code) == (413, "body_too_large")
    assert reply.headers["connection"] == "close"
    assert await client.ended()
    assert not gateway.ledger.placed


async def test_a_huge_content_length_is_413_before_the_body_is_sent(client: RawClient) -> None:
    await client.send(
        b"POST /api/v1/items/vase/bid HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"
    )

    assert (await client.reply()).status == 413


async def test_a_chunked_body_is_read(client: RawClient) -> None:
    body = b"".join(chunk(ANN_200[at : at + 7]) for at in range(0, len(ANN_200), 7))

    assert (await client.ask(chunked_bid_request(body + chunk(b"")))).status == 201


async def test_a_chunked_body_of_64_kib_is_read(client: RawClient) -> None:
    body = padded(LIMIT)
    chunks = b"".join(chunk(body[at : at + 5000]) for at in range(0, len(body), 5000))

    assert (await client.ask(chunked_bid_request(chunks + chunk(b"")))).status == 201


async def test_a_chunked_body_one_byte_over_is_413(client: RawClient) -> None:
    body = padded(LIMIT + 1)
    chunks = b"".join(chunk(body[at : at + 5000]) for at in range(0, len(body), 5000))

    reply = await client.ask(chunked_bid_request(chunks + chunk(b"")))

    assert (reply.status, reply.code) == (413, "body_too_large")


@pytest.mark.parametrize(
    "chunks", [b"zz\r\nabc\r\n0\r\n\r\n", b"5\r\nabc\r\n0\r\n\r\n", b"-1\r\n\r\n", b"\r\n\r\n"]
)
async def test_a_broken_chunk_is_400(
    client: RawClient, gateway: RunningGateway, chunks: bytes
) -> None:
    reply = await client.ask(chunked_bid_request(chunks))

    assert reply.status == 400
    assert reply.code in {"invalid_body", "invalid_http"}
    assert reply.headers["connection"] == "close"
    assert await client.ended()
    assert not gateway.ledger.placed


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_body_is_read(client: RawClient, encoding: str) -> None:
    body = gzip.compress(ANN_200) if encoding == "gzip" else zlib.compress(ANN_200)

    reply = await client.ask(bid_request(body, headers=f"Content-Encoding: {encoding}\r\n"))

    assert reply.status == 201


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_garbage_that_claims_to_be_compressed_is_400(
    client: RawClient, encoding: str
) -> None:
    reply = await client.ask(bid_request(ANN_200, headers=f"Content-Encoding: {encoding}\r\n"))

    assert (reply.status, reply.code) == (400, "invalid_body")
    assert (await client.ask(bid_request(ANN_200))).status == 201, "the connection goes on"


async def test_a_compressed_body_that_is_cut_short_is_400(client: RawClient) -> None:
    body = gzip.compress(ANN_200)[:-4]

    reply = await client.ask(bid_request(body, headers="Content-Encoding: gzip\r\n"))

    assert (reply.status, reply.code) == (400, "invalid_body")


@pytest.mark.parametrize("encoding", ["br", "zstd", "foo", "gzip, gzip"])
async def test_other_codings_are_415_and_the_ones_taken_are_named(
    client: RawClient, gateway: RunningGateway, encoding: str
) -> None:
    reply = await client.ask(bid_request(ANN_200, headers=f"Content-Encoding: {encoding}\r\n"))

    assert (reply.status, reply.code) == (415, "content_coding_unknown")
    assert reply.headers["accept-encoding"] == "gzip, deflate, identity"
    assert not gateway.ledger.placed
    assert (await client.ask(bid_request(ANN_200))).status == 201, "the connection goes on"


async def test_the_coding_identity_is_none(client: RawClient) -> None:
    reply = await client.ask(bid_request(ANN_200, headers="Content-Encoding: identity\r\n"))

    assert reply.status == 201


async def test_a_compressed_bomb_is_413(client: RawClient) -> None:
    body = gzip.compress(b" " * 50_000_000)
    assert len(body) < LIMIT

    reply = await client.ask(bid_request(body, headers="Content-Encoding: gzip\r\n"))

    assert (reply.status, reply.code) == (413, "body_too_large")


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=utf-16", "multipart/x"])
async def test_the_content_type_is_ignored(client: RawClient, kind: str) -> None:
    reply = await client.ask(bid_request(ANN_200, headers=f"Content-Type: {kind}\r\n"))

    assert reply.status == 201


async def test_no_body_at_all_is_400(client: RawClient) -> None:
    reply = await client.ask(request("/api/v1/items/vase/bid", method="POST"))

    assert (reply.status, reply.code) == (400, "invalid_body")
