"""EFS: a file system's policy has an Id only if it was put with one."""

import json
import re
from typing import Any

from localstack.emulator.describe.amending import Amendment, Request

_POLICY = re.compile(r"^(PUT|GET) /2015-02-01/file-systems/([^/]+)/policy$")


class FileSystemPolicy(Amendment):
    service = "elasticfilesystem"

    def __init__(self) -> None:
        self._without_id: set[str] = set()

    def wants(self, action: str) -> bool:
        return _POLICY.match(action) is not None

    def after(self, request: Request, answer: dict[str, Any]) -> None:
        file_system = request.action.split("/")[3]
        if "Policy" in request.members:
            if "Id" in json.loads(request.members["Policy"]):
                self._without_id.discard(file_system)
            else:
                self._without_id.add(file_system)
        if file_system in self._without_id:
            policy = json.loads(answer["Policy"])
            policy.pop("Id", None)
            answer["Policy"] = json.dumps(policy)
