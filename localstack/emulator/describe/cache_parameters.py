"""ElastiCache's parameter groups: only parameters of the source that was asked for."""

from xml.etree import ElementTree as ET

from localstack.emulator.describe.amending import Amendment, Request


class CacheParameters(Amendment):
    service = "elasticache"

    def wants(self, action: str) -> bool:
        return action == "DescribeCacheParameters"

    def after(self, request: Request, answer: ET.Element) -> None:
        source = request.members.get("Source")
        for parameters in answer.iter("Parameters"):
            for each in list(parameters):
                if source and each.findtext("Source") != source:
                    parameters.remove(each)
