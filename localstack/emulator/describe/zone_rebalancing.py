"""ECS services: whether tasks move to balance zones, which MiniStack doesn't answer."""

from typing import Any

from localstack.emulator.describe.amending import Amendment, Request

_MEMBER = "availabilityZoneRebalancing"
_DEFAULT = "DISABLED"


class ZoneRebalancing(Amendment):
    service = "ecs"

    def __init__(self) -> None:
        self._by_arn: dict[str, str] = {}

    def wants(self, action: str) -> bool:
        return action in ("CreateService", "UpdateService", "DeleteService", "DescribeServices")

    def after(self, request: Request, answer: dict[str, Any]) -> None:
        for service in [*answer.get("services", ()), *filter(None, [answer.get("service")])]:
            arn = service["serviceArn"]
            if _MEMBER in request.members:
                self._by_arn[arn] = request.members[_MEMBER]
            elif request.action in ("CreateService", "DeleteService"):
                self._by_arn.pop(arn, None)
            service[_MEMBER] = self._by_arn.get(arn, _DEFAULT)
