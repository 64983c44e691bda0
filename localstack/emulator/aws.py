"""AWS's own APIs, as the completions beside MiniStack use them: on this very emulator."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from botocore.config import Config
from botocore.session import get_session

ACCOUNT = "000000000000"
REGION = os.environ.get("MINISTACK_REGION", "us-east-1")
"""The only region whose services are scaled and whose alarms are evaluated."""

_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3})


def client(service: str, *, endpoint: str, region: str = REGION) -> Any:  # noqa: ANN401 - botocore makes its classes at run time
    return get_session().create_client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - the emulator takes any
        config=_CONFIG,
    )


async def call(function: Callable[..., Any], **arguments: object) -> dict[str, Any]:
    """Calls a client's method in a thread: the emulator that answers runs in this process."""
    answer: dict[str, Any] = await asyncio.to_thread(function, **arguments)
    return answer


async def pages(function: Callable[..., Any], key: str, **arguments: object) -> list[Any]:
    """All elements of `key` of an API that pages by NextToken or nextToken."""
    found: list[Any] = []
    while True:
        answer = await call(function, **arguments)
        found += answer.get(key, [])
        token = next((name for name in ("NextToken", "nextToken") if answer.get(name)), None)
        if token is None:
            return found
        arguments[token] = answer[token]
