"""Secrets that are created twice."""

import json
from collections.abc import Mapping
from typing import Any

from localstack.emulator.secrets import Answer, create_secret


class MiniStack:
    """Refuses a name that exists, whatever the token."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def create(self, data: Mapping[str, Any]) -> Answer:
        name = data["Name"]
        if name in self.names:
            return 400, {}, b'{"__type":"ResourceExistsException"}'
        self.names.add(name)
        return 200, {}, json.dumps({"Name": name, "made": len(self.names)}).encode()


def test_a_request_sent_again_gets_the_first_answer() -> None:
    upstream = MiniStack()
    request = {"Name": "nats", "ClientRequestToken": "one"}
    first = create_secret(upstream.create, request)

    assert first[0] == 200
    assert create_secret(upstream.create, request) == first


def test_another_request_for_a_name_that_exists_is_refused() -> None:
    upstream = MiniStack()
    create_secret(upstream.create, {"Name": "db", "ClientRequestToken": "one"})

    for other in ({"ClientRequestToken": "two"}, {}):
        assert create_secret(upstream.create, {"Name": "db", **other})[0] == 400


def test_a_secret_that_was_deleted_is_made_anew() -> None:
    upstream = MiniStack()
    request = {"Name": "cache", "ClientRequestToken": "one"}
    first = create_secret(upstream.create, request)
    upstream.names.clear()
    upstream.names.add("another")

    again = create_secret(upstream.create, request)

    assert again[0] == 200
    assert again != first
