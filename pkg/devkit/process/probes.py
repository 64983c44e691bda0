"""Asks a server whether it is ready, by the shortest exchange of its own protocol.

Blocking, with a time-out, and free of client libraries: the same probe serves the supervisor, the
tests and `bidkit doctor`. A probe returns None when the server is ready, else says why it is not.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import IO, cast

TIMEOUT_S = 2.0
_POSTGRES_PROTOCOL = 196608
_MOST_BYTES = 65536
"""Most bytes read of an answer to /ready or /health."""


def redis_says(port: int) -> str | None:
    def ask(wire: IO[bytes]) -> str | None:
        wire.write(b"PING\r\n")
        wire.flush()
        reply = wire.readline().strip()
        return None if reply == b"+PONG" else reply.decode(errors="replace") or "closed"

    return _ask(port, ask)


def nats_says(port: int, *, user: str, password: str) -> str | None:
    def ask(wire: IO[bytes]) -> str | None:
        verb, _, body = wire.readline().partition(b" ")
        if verb != b"INFO":
            return "no NATS server"
        if not json.loads(body).get("jetstream"):
            return "JetStream is off"
        options = {"verbose": False, "pedantic": False, "user": user, "pass": password}
        wire.write(f"CONNECT {json.dumps(options)}\r\nPING\r\n".encode())
        wire.flush()
        reply = wire.readline().strip()
        return None if reply == b"PONG" else reply.decode(errors="replace") or "closed"

    return _ask(port, ask)


def postgres_says(port: int, *, user: str, database: str) -> str | None:
    def ask(wire: IO[bytes]) -> str | None:
        parameters = f"user\0{user}\0database\0{database}\0\0".encode()
        wire.write(struct.pack("!II", len(parameters) + 8, _POSTGRES_PROTOCOL) + parameters)
        wire.flush()
        while True:
            kind, body = _postgres_message(wire)
            if kind == b"Z":  # ready for a query; saying goodbye spares the server's log a line
                wire.write(b"X\0\0\0\4")
                wire.flush()
                return None
            if kind == b"E":
                fields = body.decode(errors="replace").split("\0")
                return next((field[1:] for field in fields if field.startswith("M")), "refused")
            if not kind:
                return "closed"

    return _ask(port, ask)


def _postgres_message(wire: IO[bytes]) -> tuple[bytes, bytes]:
    head = wire.read(5)
    if len(head) < 5:  # noqa: PLR2004 - a type byte and a 32-bit length
        return b"", b""
    (length,) = struct.unpack("!I", head[1:])
    return head[:1], wire.read(length - 4)


def _ask(port: int, exchange: Callable[[IO[bytes]], str | None]) -> str | None:
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection,
            connection.makefile("rwb") as wire,
        ):
            return exchange(cast("IO[bytes]", wire))
    except ConnectionRefusedError:
        return "not listening yet"
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__


async def http_status(port: int, path: str, *, timeout_s: float = TIMEOUT_S) -> int | None:
    """The status of a GET on loopback; None if there is no answer in time."""
    answer = await _get(port, path, timeout_s=timeout_s)
    return answer and answer[0]


async def service_says(port: int) -> str | None:
    answer = await _get(port, "/ready", timeout_s=TIMEOUT_S)
    if answer is None:
        return "does not answer"
    status, body = answer
    if status == 200:  # noqa: PLR2004 - HTTP's OK
        return None
    try:
        checks = json.loads(body)["checks"].items()
        lacking = ", ".join(f"{part} {word}" for part, word in checks if word != "ok")
    except (ValueError, LookupError, TypeError, AttributeError):
        lacking = ""
    return f"/ready says {status}: {lacking}" if lacking else f"/ready says {status}"


async def _get(port: int, path: str, *, timeout_s: float) -> tuple[int, bytes] | None:
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
                )
                answer = await reader.read(_MOST_BYTES)
                while part := await reader.read(_MOST_BYTES - len(answer)):
                    answer += part
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    return (int(words[1]), body) if len(words) > 1 and words[1].isdigit() else None
