"""VPC endpoints: the policy, which MiniStack neither keeps at their creation nor describes."""

from xml.etree import ElementTree as ET

from localstack.emulator.describe.amending import Amendment, Request
from localstack.emulator.describe.elements import add_missing


class EndpointPolicy(Amendment):
    service = "ec2"

    def __init__(self) -> None:
        self._policies: dict[str, str] = {}

    def wants(self, action: str) -> bool:
        return action in ("CreateVpcEndpoint", "ModifyVpcEndpoint", "DescribeVpcEndpoints")

    def after(self, request: Request, answer: ET.Element) -> None:
        policy = request.members.get("PolicyDocument")
        if request.action == "ModifyVpcEndpoint":
            if policy:
                self._policies[request.members["VpcEndpointId"]] = policy
            return
        for endpoint in (*answer.findall("vpcEndpoint"), *answer.findall("vpcEndpointSet/item")):
            endpoint_id = endpoint.findtext("vpcEndpointId") or ""
            if policy:
                self._policies[endpoint_id] = policy
            if endpoint_id in self._policies:
                add_missing(endpoint, {"policyDocument": self._policies[endpoint_id]})
