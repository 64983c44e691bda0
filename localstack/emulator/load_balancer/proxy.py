"""Carries requests and WebSockets from clients to targets."""

import asyncio
import contextlib
import itertools
import logging
import re
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import quote

from localstack.emulator.load_balancer import messages
from localstack.emulator.load_balancer.messages import Ends, Head, MalformedError
from localstack.emulator.load_balancer.routing import (
    Action,
    Fixed,
    Forward,
    Group,
    Listener,
    Redirect,
    Request,
    Target,
)

log = logging.getLogger("load_balancer")

COOKIE = "AWSALB"
_CONNECT_WITHIN_S = 10.0
_SMALL_BODY = 64 * 1024
_IDLE_CONNECTIONS = 64
"""Kept open to a target for later requests."""
_OWN_FIELDS = (
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-port",
    b"x-amzn-trace-id",
    b"expect",
)
_VALID_NAME = re.compile(rb"[-A-Za-z0-9]+")

_PROCESS = secrets.token_hex(8).encode()
_numbers = itertools.count()

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Records:
    """What this load balancer is told. Replaced as a whole when something changes."""

    listeners: dict[int, Listener] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    published: dict[int, int] = field(default_factory=dict)
    """Ports outside its container, by listener."""
    idle_timeout_s: float = 60.0
    drop_invalid_fields: bool = False
    forwarded_for: str = "append"
    elb_5xx: int = 0
    """Answered by the load balancer itself."""
    requests: int = 0
    target_5xx: int = 0
    connections: int = 0
    """Of clients, open now."""


class Proxy:
    def __init__(self, records: Records) -> None:
        self.records = records
        self._idle: dict[str, deque[tuple[float, _Connection]]] = {}
        self._clients: set[asyncio.StreamWriter] = set()

    def forget(self, target: Target) -> None:
        """Closes the idle connections to a target that takes no more requests."""
        for _, (_, writer) in self._idle.pop(target.key, ()):
            writer.close()

    def close(self) -> None:
        for idle in self._idle.values():
            for _, (_, writer) in idle:
                writer.close()
        for writer in self._clients:
            writer.close()

    async def serve_client(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        client = _Client(reader, writer, port)
        self.records.connections += 1
        self._clients.add(writer)
        try:
            while await self._serve_request(client):
                pass
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # the client went away, or was silent for too long
        except MalformedError as error:
            log.info("closed a connection: %s", error)
            if not client.answering:
                with contextlib.suppress(OSError):
                    await client.answer(HTTPStatus.BAD_REQUEST, closing=True)
        finally:
            self.records.connections -= 1
            self._clients.discard(writer)
            writer.close()

    async def _serve_request(self, client: "_Client") -> bool:
        """True: the connection can carry another request."""
        async with asyncio.timeout(self.records.idle_timeout_s):
            head = await messages.read_head(client.reader)
        if head is None:
            return False
        client.answering = False
        body = messages.body_of_request(head)
        listener = self.records.listeners.get(client.port)
        request = _request(head, client.address)
        action = listener.action_for(request) if listener else None
        if isinstance(action, Forward):
            return await self._forward(client, head, body, request, action)
        idle_s = self.records.idle_timeout_s
        await messages.relay(client.reader, messages.Nowhere(), body, idle_s=idle_s)
        return await self._answer(client, request, action, closing=_closes(head))

    async def _answer(
        self, client: "_Client", request: Request, action: Action | None, *, closing: bool
    ) -> bool:
        match action:
            case Fixed():
                await client.answer(
                    action.status,
                    action.body.encode(),
                    action.content_type,
                    closing=closing,
                    headless=request.method == "HEAD",
                )
            case Redirect():
                where = _location(action, request, client.port, self.records)
                await client.answer(
                    action.status, fields=[(b"Location", where.encode())], closing=closing
                )
            case _:
                self.records.elb_5xx += 1
                await client.answer(HTTPStatus.SERVICE_UNAVAILABLE, closing=True)
                return False
        return not closing

    async def _forward(
        self, client: "_Client", head: Head, body: messages.Body, request: Request, action: Forward
    ) -> bool:
        group = self.records.groups.get(action.group)
        target = group.choose(_cookie(request)) if group else None
        self.records.requests += 1
        if group is None or target is None:
            self._count_own_error(group)
            await client.answer(HTTPStatus.SERVICE_UNAVAILABLE, closing=True)
            return False
        group.requests += 1
        target.requests += 1
        target.in_flight += 1
        exchange = _Exchange(self, client, head, body, group, target)
        try:
            return await exchange.run(self._head_for_target(client, head))
        except _TargetError as error:
            self._count_own_error(group)
            log.info("%s: %s", target.key, error)
            if not client.answering:
                await client.answer(error.status, closing=True)
            return False
        finally:
            target.in_flight -= 1

    def _count_own_error(self, group: Group | None) -> None:
        self.records.elb_5xx += 1
        if group:
            group.elb_5xx += 1

    def _head_for_target(self, client: "_Client", head: Head) -> bytes:
        fields = head.end_to_end(*_OWN_FIELDS)
        if self.records.drop_invalid_fields:
            fields = [each for each in fields if _VALID_NAME.fullmatch(each[0])]
        before = head.get(b"x-forwarded-for")
        if self.records.forwarded_for == "append":
            address = client.address.encode()
            fields.append((b"X-Forwarded-For", before + b", " + address if before else address))
        elif self.records.forwarded_for == "preserve" and before:
            fields.append((b"X-Forwarded-For", before))
        listener = self.records.listeners[client.port]
        fields.append((b"X-Forwarded-Proto", listener.protocol.lower().encode()))
        fields.append((b"X-Forwarded-Port", str(client.port).encode()))
        fields.append((b"X-Amzn-Trace-Id", _trace(head.get(b"x-amzn-trace-id"))))
        if _upgrades(head):
            fields.append((b"Connection", b"Upgrade"))
            fields.append((b"Upgrade", head.get(b"upgrade") or b""))
        return messages.encode((head.first[0], head.first[1], b"HTTP/1.1"), fields)

    async def connect(self, target: Target) -> _Connection:
        idle = self._idle.get(target.key)
        while idle:
            since, (reader, writer) = idle.pop()
            if not writer.is_closing() and not reader.at_eof() and self._fresh(since):
                return reader, writer
            writer.close()
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                return await asyncio.open_connection(
                    target.host, target.port, limit=messages.HEAD_LIMIT
                )
        except TimeoutError as error:
            raise _TargetError(HTTPStatus.GATEWAY_TIMEOUT, "does not accept") from error
        except OSError as error:
            raise _TargetError(HTTPStatus.BAD_GATEWAY, f"refuses: {error}") from error

    def _fresh(self, since: float) -> bool:
        return time.monotonic() - since < self.records.idle_timeout_s

    def keep(self, target: Target, connection: _Connection) -> None:
        idle = self._idle.setdefault(target.key, deque())
        if target.draining or len(idle) >= _IDLE_CONNECTIONS:
            connection[1].close()
        else:
            idle.append((time.monotonic(), connection))


class _TargetError(Exception):
    """The target gave no usable answer. What it did with the request is unknown."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(slots=True)
class _Exchange:
    """One request on its way to one target, and the answer."""

    proxy: Proxy
    client: "_Client"
    head: Head
    body: messages.Body
    group: Group
    target: Target

    async def run(self, head_for_target: bytes) -> bool:
        if self.head.get(b"expect") and b"100-continue" in self.head.tokens(b"expect"):
            self.client.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        at_once = b""
        if isinstance(self.body, int) and self.body <= _SMALL_BODY:
            async with asyncio.timeout(self.proxy.records.idle_timeout_s):
                at_once = await self.client.reader.readexactly(self.body)
            self.body = Ends.AT_ONCE
        connection = await self.proxy.connect(self.target)
        reader, writer = connection
        started = time.monotonic()
        idle_s = self.proxy.records.idle_timeout_s
        sending: asyncio.Task[None] | None = None
        kept = False
        try:
            writer.write(head_for_target + at_once)
            if self.body is not Ends.AT_ONCE:
                sending = asyncio.create_task(
                    messages.relay(self.client.reader, writer, self.body, idle_s=idle_s)
                )
            answer = await self._answer_of(reader)
            self.group.seconds += time.monotonic() - started
            if answer.first[1] == b"101":
                await self._tunnel(answer, connection)
                return False
            rest = messages.body_of_response(answer, self.head.first[0])
            closing = _closes(self.head) or (sending is not None and not sending.done())
            closing = closing or rest is Ends.WITH_CONNECTION
            self._pass_head(answer, closing=closing)
            await self._relay_answer(reader, rest)
            if sending is not None and not closing:
                await sending
            kept = not closing and b"close" not in answer.tokens(b"connection")
            return not closing
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            if kept:
                self.proxy.keep(self.target, connection)
            else:
                writer.close()

    async def _answer_of(self, reader: asyncio.StreamReader) -> Head:
        try:
            async with asyncio.timeout(self.proxy.records.idle_timeout_s):
                while True:
                    answer = await messages.read_head(reader)
                    if answer is None:
                        raise _TargetError(HTTPStatus.BAD_GATEWAY, "closed without an answer")
                    status = answer.first[1]
                    if not status.isdigit():
                        raise _TargetError(HTTPStatus.BAD_GATEWAY, "answers no HTTP")
                    if not status.startswith(b"1") or status == b"101":
                        break
        except TimeoutError as error:
            raise _TargetError(HTTPStatus.GATEWAY_TIMEOUT, "does not answer") from error
        except (OSError, MalformedError) as error:
            raise _TargetError(HTTPStatus.BAD_GATEWAY, f"broke off: {error}") from error
        if status.startswith(b"5"):
            self.group.target_5xx += 1
            self.proxy.records.target_5xx += 1
        return answer

    def _pass_head(self, answer: Head, *, closing: bool) -> None:
        fields = answer.end_to_end()
        if closing:
            fields.append((b"Connection", b"close"))
        elif self.head.first[2] == b"HTTP/1.0":
            fields.append((b"Connection", b"keep-alive"))
        if self.group.sticky_s is not None:
            until = formatdate(time.time() + self.group.sticky_s, usegmt=True)
            cookie = f"{COOKIE}={self.target.cookie}; Expires={until}; Path=/"
            fields.append((b"Set-Cookie", cookie.encode()))
        self.client.answering = True
        first = (b"HTTP/1.1", answer.first[1], answer.first[2])
        self.client.writer.write(messages.encode(first, fields))

    async def _relay_answer(self, reader: asyncio.StreamReader, rest: messages.Body) -> None:
        idle_s = self.proxy.records.idle_timeout_s
        try:
            await messages.relay(reader, self.client.writer, rest, idle_s=idle_s)
        except (MalformedError, TimeoutError) as error:
            raise _TargetError(HTTPStatus.BAD_GATEWAY, f"broke off: {error}") from error
        await self.client.writer.drain()

    async def _tunnel(self, answer: Head, connection: _Connection) -> None:
        """Passes bytes both ways until one side ends or both are silent for too long."""
        reader, writer = connection
        self.client.answering = True
        first = (b"HTTP/1.1", answer.first[1], answer.first[2])
        fields = [
            *answer.end_to_end(),
            (b"Connection", b"Upgrade"),
            (b"Upgrade", answer.get(b"upgrade") or b"websocket"),
        ]
        self.client.writer.write(messages.encode(first, fields))
        sinks = [_Noting(writer), _Noting(self.client.writer)]
        ways = [
            asyncio.create_task(messages.pump(self.client.reader, sinks[0])),
            asyncio.create_task(messages.pump(reader, sinks[1])),
        ]
        try:
            while True:
                quiet_s = time.monotonic() - max(sink.last for sink in sinks)
                left = self.proxy.records.idle_timeout_s - quiet_s
                ended, _ = await asyncio.wait(
                    ways, timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED
                )
                if ended or left <= 0:
                    break
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


@dataclass(slots=True)
class _Noting:
    """A sink that knows when it was last written to."""

    to: messages.Sink
    last: float = field(default_factory=time.monotonic)

    def write(self, data: bytes) -> None:
        self.last = time.monotonic()
        self.to.write(data)

    async def drain(self) -> None:
        await self.to.drain()


class _Client:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.port = port
        """Of the listener."""
        self.address: str = writer.get_extra_info("peername")[0]
        self.answering = False
        """A head was sent, so an error can only be told by closing."""

    async def answer(
        self,
        status: int,
        body: bytes | None = None,
        content_type: str = "text/html",
        *,
        fields: list[tuple[bytes, bytes]] | None = None,
        closing: bool,
        headless: bool = False,
    ) -> None:
        reason = HTTPStatus(status).phrase if status in _STATUSES else ""
        if body is None:
            body = f"<html><body><h1>{status} {reason}</h1></body></html>\r\n".encode()
        self.answering = True
        self.writer.write(
            messages.encode(
                (b"HTTP/1.1", str(status).encode(), reason.encode()),
                [
                    (b"Server", b"awselb/2.0"),
                    (b"Date", formatdate(usegmt=True).encode()),
                    (b"Content-Type", content_type.encode()),
                    (b"Content-Length", str(len(body)).encode()),
                    (b"Connection", b"close" if closing else b"keep-alive"),
                    *(fields or []),
                ],
            )
            + (b"" if headless else body)
        )
        await self.writer.drain()


_STATUSES = {int(status) for status in HTTPStatus}


def _request(head: Head, client: str) -> Request:
    path, _, query = head.first[1].decode("latin-1").partition("?")
    return Request(head.first[0].decode("latin-1"), path, query, head, client)


def _closes(head: Head) -> bool:
    asked = head.tokens(b"connection")
    return b"close" in asked or (head.first[2] == b"HTTP/1.0" and b"keep-alive" not in asked)


def _upgrades(head: Head) -> bool:
    return b"upgrade" in head.tokens(b"connection") and head.get(b"upgrade") is not None


def _cookie(request: Request) -> str | None:
    for each in (request.field("cookie") or "").split(";"):
        name, _, value = each.strip().partition("=")
        if name == COOKIE:
            return value
    return None


def _trace(before: bytes | None) -> bytes:
    own = b"1-%08x-%s%08x" % (int(time.time()), _PROCESS, next(_numbers))
    if before is None:
        return b"Root=" + own
    others = [each for each in before.split(b";") if not each.strip().startswith(b"Self=")]
    return b"Self=" + own + b";" + b";".join(others)


def _location(redirect: Redirect, request: Request, port: int, records: Records) -> str:
    """Listeners' ports become the published ones: those are what a client can reach."""
    host = (request.field("host") or "").rsplit(":", 1)[0]
    protocol = records.listeners[port].protocol.lower()

    def fill(part: str) -> str:
        return (
            part.replace("#{protocol}", protocol)
            .replace("#{host}", host)
            .replace("#{port}", str(port))
            .replace("#{path}", request.path.removeprefix("/"))
            .replace("#{query}", request.query)
        )

    to_port = int(fill(redirect.port))
    to_port = records.published.get(to_port, to_port)
    query = fill(redirect.query)
    return (
        f"{fill(redirect.protocol).lower()}://{fill(redirect.host)}:{to_port}"
        f"{quote(fill(redirect.path), safe='/%')}{'?' + query if query else ''}"
    )
