"""Answers an AWS API of the JSON protocol before a request reaches MiniStack."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

from localstack.emulator.asgi import App, Message, Receive, Send, body_of

Answer = Mapping[str, Any]
Action = Callable[[dict[str, Any]], Awaitable[Answer]]


class ApiError(Exception):
    """Refused as AWS refuses it. Nothing was changed."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class JsonApi:
    """Middleware. Requests are found by their ``X-Amz-Target``, `prefix` dot action."""

    def __init__(self, prefix: str, actions: Mapping[str, Action]) -> None:
        self._target = re.compile(rf"^{re.escape(prefix)}\.(\w+)$")
        self._actions = actions

    def __call__(self, app: App) -> App:
        async def handle(scope: Message, receive: Receive, send: Send) -> None:
            action = self._action(scope)
            if action is None:
                await app(scope, receive, send)
            else:
                await _answer(send, *await self._result(action, receive))

        return handle

    def _action(self, scope: Message) -> str | None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        found = self._target.match(headers.get(b"x-amz-target", b"").decode("latin-1"))
        return found[1] if found else None

    async def _result(self, action: str, receive: Receive) -> tuple[int, Answer]:
        try:
            perform = self._actions.get(action, _unknown)
            return 200, await perform(json.loads(await body_of(receive) or b"{}"))
        except ApiError as error:
            return 400, {"__type": error.kind, "message": str(error), "Message": str(error)}


async def _unknown(_request: dict[str, Any]) -> Answer:
    raise ApiError("UnknownOperationException", "The emulator lacks this action.")


async def _answer(send: Send, status: int, answer: Answer) -> None:
    body = json.dumps(answer).encode()
    headers = [
        (b"content-type", b"application/x-amz-json-1.1"),
        (b"content-length", str(len(body)).encode()),
        (b"x-amzn-requestid", str(uuid4()).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
