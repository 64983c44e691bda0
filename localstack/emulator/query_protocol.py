"""CloudWatch's alarms over the Query protocol, which Terraform's provider speaks.

Stands before MiniStack: it stores and describes alarms in full over JSON, but drops actions,
description, period, statistic, dimensions and missing data over Query. So these requests are turned
into JSON and the answers into XML, by the shapes that botocore has of CloudWatch's API. Can go when
a second plan after an apply on plain MiniStack shows no alarm.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4
from xml.etree import ElementTree as ET

from botocore.loaders import Loader
from botocore.model import ListShape, ServiceModel, Shape, StructureShape

from localstack.emulator.asgi import App, Message, Receive, Send, ask, body_of, once
from localstack.emulator.serving import Emulator

ACTIONS = ("PutMetricAlarm", "DescribeAlarms", "DescribeAlarmsForMetric")

_SIGNED_FOR = re.compile(rb"/monitoring/aws4_request")
_FORM = b"application/x-www-form-urlencoded"
_TARGET = b"GraniteServiceVersion20100801."
_NAMESPACE = "http://monitoring.amazonaws.com/doc/2010-08-01/"


def install(emulator: Emulator) -> None:
    model = ServiceModel(Loader().load_service_model("cloudwatch", "service-2"))
    emulator.wrap(lambda app: AlarmsAsJson(app, model))


class AlarmsAsJson:
    def __init__(self, app: App, model: ServiceModel) -> None:
        self._app = app
        self._model = model

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        if not (
            headers.get(b"content-type", b"").startswith(_FORM)
            and _SIGNED_FOR.search(headers.get(b"authorization", b""))
        ):
            await self._app(scope, receive, send)
            return
        body = await body_of(receive)
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = form.get("Action", "")
        if action in ACTIONS:
            operation = self._model.operation_model(action)
            request = from_form(operation.input_shape, form)
            status, answer = await self._ask(scope, action, request)
            if status == 200:  # noqa: PLR2004 - HTTP's
                await _send(send, to_xml(action, operation.output_shape, answer))
                return
        # Other actions, and refusals, which MiniStack words itself.
        await self._app(scope, once(body), send)

    async def _ask(
        self, scope: Message, action: str, request: Mapping[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        headers = [
            *((name, text) for name, text in scope["headers"] if name != b"content-type"),
            (b"content-type", b"application/x-amz-json-1.0"),
            (b"x-amz-target", _TARGET + action.encode()),
        ]
        body = json.dumps(request or {}).encode()
        start, answer = await ask(self._app, {**scope, "headers": headers}, body)
        return start["status"], json.loads(answer or b"{}")


def from_form(shape: Shape | None, form: Mapping[str, str], name: str = "") -> Any:  # noqa: ANN401 - JSON
    """The value of this shape and name, or None if the form has nothing of it."""
    if isinstance(shape, StructureShape):
        dot = f"{name}." if name else ""
        members = {
            key: from_form(member, form, f"{dot}{member.serialization.get('name', key)}")
            for key, member in shape.members.items()
        }
        return {key: value for key, value in members.items() if value is not None} or None
    if isinstance(shape, ListShape):
        values: list[Any] = []
        while (
            value := from_form(shape.member, form, f"{name}.member.{len(values) + 1}")
        ) is not None:
            values.append(value)
        return values or None
    text = form.get(name)
    if text is None or shape is None:
        return None
    match shape.type_name:
        case "boolean":
            return text == "true"
        case "integer" | "long":
            return int(text)
        case "double" | "float":
            return float(text)
        case _:
            return text


def to_xml(action: str, shape: Shape | None, answer: Mapping[str, Any]) -> bytes:
    root = ET.Element(f"{action}Response", xmlns=_NAMESPACE)
    if shape is not None:
        _fill(ET.SubElement(root, f"{action}Result"), shape, answer)
    ET.SubElement(ET.SubElement(root, "ResponseMetadata"), "RequestId").text = str(uuid4())
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _fill(element: ET.Element, shape: Shape, value: Any) -> None:  # noqa: ANN401 - JSON
    if isinstance(shape, StructureShape):
        for key, member in shape.members.items():
            if value.get(key) is not None:
                _fill(ET.SubElement(element, key), member, value[key])
    elif isinstance(shape, ListShape):
        for each in value:
            _fill(ET.SubElement(element, "member"), shape.member, each)
    elif shape.type_name == "timestamp" and not isinstance(value, str):
        element.text = datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")
    elif shape.type_name == "boolean":
        element.text = str(bool(value)).lower()
    else:
        element.text = str(value)


async def _send(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"text/xml"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
