"""Flow logs: role, interval and tags. Without them every apply replaces the flow log."""

from xml.etree import ElementTree as ET

from localstack.emulator.describe.amending import Amendment, Request
from localstack.emulator.describe.elements import add_missing

_ANSWERED_AS = {
    "DeliverLogsPermissionArn": "deliverLogsPermissionArn",
    "LogFormat": "logFormat",
    "LogGroupName": "logGroupName",
    "MaxAggregationInterval": "maxAggregationInterval",
}
_DEFAULT_INTERVAL_S = "600"


class FlowLogs(Amendment):
    service = "ec2"

    def __init__(self) -> None:
        self._created: dict[str, dict[str, str]] = {}

    def wants(self, action: str) -> bool:
        return action in ("CreateFlowLogs", "DescribeFlowLogs")

    def before(self, request: Request) -> None:
        """MiniStack looks for tags of another type than AWS's `vpc-flow-log`."""
        for name, text in request.members.items():
            if name.endswith(".ResourceType") and text == "vpc-flow-log":
                request.members[name] = "flow-log"

    def after(self, request: Request, answer: ET.Element) -> None:
        if request.action == "CreateFlowLogs":
            texts = {
                answered: request.members[name]
                for name, answered in _ANSWERED_AS.items()
                if name in request.members
            }
            for each in answer.findall("flowLogIdSet/item"):
                self._created[each.text or ""] = texts
        else:
            for item in answer.findall("flowLogSet/item"):
                texts = self._created.get(item.findtext("flowLogId") or "", {})
                add_missing(item, {"maxAggregationInterval": _DEFAULT_INTERVAL_S} | texts)
