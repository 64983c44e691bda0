"""RDS: which logs an instance exports to CloudWatch, which MiniStack always answers as none."""

from xml.etree import ElementTree as ET

from localstack.emulator.describe.amending import Amendment, Request
from localstack.emulator.describe.elements import listed, replace_list

_ENABLED = "EnableCloudwatchLogsExports.member"
_CHANGED = "CloudwatchLogsExportConfiguration.{}LogTypes.member"


class DatabaseLogExports(Amendment):
    service = "rds"

    def __init__(self) -> None:
        self._exports: dict[str, list[str]] = {}

    def wants(self, action: str) -> bool:
        return action in (
            *("CreateDBInstance", "ModifyDBInstance", "DescribeDBInstances"),
            *("StartDBInstance", "StopDBInstance", "RebootDBInstance"),
        )

    def after(self, request: Request, answer: ET.Element) -> None:
        name = request.members.get("DBInstanceIdentifier", "")
        if request.action == "CreateDBInstance":
            self._exports[name] = listed(request.members, _ENABLED)
        elif request.action == "ModifyDBInstance":
            kept = set(self._exports.get(name, ()))
            kept -= set(listed(request.members, _CHANGED.format("Disable")))
            kept |= set(listed(request.members, _CHANGED.format("Enable")))
            self._exports[name] = sorted(kept)
        for instance in answer.iter("DBInstance"):
            exports = self._exports.get(instance.findtext("DBInstanceIdentifier") or "", [])
            replace_list(instance, "EnabledCloudwatchLogsExports", exports)
