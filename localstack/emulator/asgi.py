"""Requests and answers of ASGI, whole: AWS's APIs take and give a few MB at most."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
App = Callable[[Message, Receive, Send], Awaitable[None]]


async def body_of(receive: Receive) -> bytes:
    """The whole body of a request to an AWS API; AWS limits them to a few MB."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


async def ask(app: App, scope: Message, body: bytes) -> tuple[Message, bytes]:
    """The start of the app's answer, and its whole body."""
    start: Message = {}
    answer = bytearray()

    async def keep(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
        answer.extend(message.get("body", b""))

    await app({**scope, "headers": with_length(scope["headers"], body)}, once(body), keep)
    return start, bytes(answer)


def once(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def answer_with(send: Send, start: Message, body: bytes) -> None:
    await send({**start, "headers": with_length(start["headers"], body)})
    await send({"type": "http.response.body", "body": body})


def with_length(headers: Iterable[Header], body: bytes) -> list[Header]:
    kept = [(name, text) for name, text in headers if name.lower() != b"content-length"]
    return [*kept, (b"content-length", str(len(body)).encode())]
