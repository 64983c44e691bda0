"""A request to create a secret that is sent again is answered as it was the first time.

Replaces ``secretsmanager._create_secret``, which ignores ``ClientRequestToken``: when Terraform's
provider retries a request whose answer came late, it is told ResourceExistsException and the apply
fails. Can go when MiniStack honours the token.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from localstack.emulator.upstream import replaces

Answer = tuple[int, Mapping[str, str], bytes]

_answered: dict[str, tuple[str, Answer]] = {}
"""By the secret's name, of which there are few: the token of the request that made it, and the
answer.
"""


@replaces("ministack.services.secretsmanager", "_create_secret", source="d3de7fac76ba")
def create_secret(
    original: Callable[[Mapping[str, Any]], Answer], data: Mapping[str, Any]
) -> Answer:
    answer = original(data)
    name, token = data.get("Name", ""), data.get("ClientRequestToken")
    if answer[0] == HTTPStatus.OK:
        if token:
            _answered[name] = (token, answer)
        return answer
    before = _answered.get(name)
    exists = b"ResourceExistsException" in bytes(answer[2])
    return before[1] if exists and before and before[0] == token else answer
