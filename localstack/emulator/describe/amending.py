"""Middleware that lets amendments see and change requests of AWS's APIs and their answers."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree as ET

from localstack.emulator.asgi import (
    App,
    Message,
    Receive,
    Send,
    answer_with,
    ask,
    body_of,
    once,
)

_SIGNED_FOR = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request")
_FORM = "application/x-www-form-urlencoded"


@dataclass(slots=True)
class Request:
    service: str
    """As in the request's signature: ec2, rds, …"""
    action: str
    """`CreateFlowLogs`; of a REST API method and path."""
    members: dict[str, Any]
    """A form's fields (``TagSpecification.1.ResourceType``), or JSON."""


Answer = ET.Element | dict[str, Any]


class Amendment(ABC):
    """Keeps what it needs in memory, as MiniStack does."""

    service: str

    @abstractmethod
    def wants(self, action: str) -> bool: ...

    def before(self, request: Request) -> None:  # noqa: B027 - most only amend answers
        """May change the request's members."""

    @abstractmethod
    def after(self, request: Request, answer: Any) -> None:  # noqa: ANN401 - an Answer
        """May change an answer of 200: of a form's action an element, else a dict."""


class Amending:
    def __init__(self, app: App, amendments: Sequence[Amendment]) -> None:
        self._app = app
        self._amendments = amendments

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        found = _SIGNED_FOR.search(headers.get("authorization", ""))
        service = found[1] if found else ""
        if not any(each.service == service for each in self._amendments):
            await self._app(scope, receive, send)
            return
        body = await body_of(receive)
        request = _request(service, scope, headers, body)
        wanted = [
            each
            for each in self._amendments
            if each.service == service and each.wants(request.action)
        ]
        if not wanted:
            await self._app(scope, once(body), send)
            return
        for each in wanted:
            each.before(request)
        is_form = headers.get("content-type", "").startswith(_FORM)
        if body:
            body = (urlencode if is_form else json.dumps)(request.members).encode()
        start, answer = await ask(self._app, scope, body)
        if start["status"] == 200 and answer:  # noqa: PLR2004 - HTTP's
            answer = _amended(answer, request, wanted, is_form=is_form)
        await answer_with(send, start, answer)


def _headers(scope: Message) -> dict[str, str]:
    if scope["type"] != "http":
        return {}
    return {name.decode().lower(): text.decode("latin-1") for name, text in scope["headers"]}


def _request(service: str, scope: Message, headers: dict[str, str], body: bytes) -> Request:
    if headers.get("content-type", "").startswith(_FORM):
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        return Request(service, form.get("Action", ""), form)
    members = json.loads(body) if body.startswith(b"{") else {}
    target = headers.get("x-amz-target", "").rpartition(".")[2]
    return Request(service, target or f"{scope['method']} {scope['path']}", members)


def _amended(
    answer: bytes, request: Request, amendments: Sequence[Amendment], *, is_form: bool
) -> bytes:
    if not is_form:
        members = json.loads(answer)
        for each in amendments:
            each.after(request, members)
        return json.dumps(members).encode()
    namespace = re.search(rb'xmlns="([^"]+)"', answer)
    # Without its namespace a document's names are those of the API.
    root = ET.fromstring(re.sub(rb' xmlns="[^"]+"', b"", answer))  # noqa: S314 - MiniStack's own
    for each in amendments:
        each.after(request, root)
    if namespace:
        root.set("xmlns", namespace[1].decode())
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
