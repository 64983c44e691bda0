"""The actions of Application Auto Scaling that Terraform and people use."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

from localstack.emulator.autoscaling.registry import Policy, Registry, Target, TargetId
from localstack.emulator.aws import ACCOUNT, REGION
from localstack.emulator.json_api import Action, Answer, ApiError

Request = dict[str, Any]

PREFIX = "AnyScaleFrontendService"
NAMESPACE, DIMENSION = "ecs", "ecs:service:DesiredCount"
METRICS = ("ECSServiceAverageCPUUtilization", "ALBRequestCountPerTarget")

_ROLE = (
    f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ecs.application-autoscaling.amazonaws.com"
    "/AWSServiceRoleForApplicationAutoScaling_ECSService"
)
_NOT_SUSPENDED = {
    "DynamicScalingInSuspended": False,
    "DynamicScalingOutSuspended": False,
    "ScheduledScalingSuspended": False,
}


class ScalingApi:
    def __init__(self, registry: Registry, *, exists: Callable[[str], Awaitable[bool]]) -> None:
        """`exists` tells whether there is a service of this resource id."""
        self._registry = registry
        self._exists = exists

    @property
    def actions(self) -> Mapping[str, Action]:
        return {
            "RegisterScalableTarget": self.register,
            "DescribeScalableTargets": self.describe_targets,
            "DeregisterScalableTarget": self.deregister,
            "PutScalingPolicy": self.put_policy,
            "DescribeScalingPolicies": self.describe_policies,
            "DeleteScalingPolicy": self.delete_policy,
            "DescribeScalingActivities": self.describe_activities,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.list_tags,
        }

    async def register(self, request: Request) -> Answer:
        key = _id(request)
        target = self._registry.get(key)
        if target is None:
            if "MinCapacity" not in request or "MaxCapacity" not in request:
                raise _invalid("MinCapacity and MaxCapacity are needed to register a target.")
            if not await self._exists(key.resource):
                raise _invalid(f"ECS service doesn't exist: {key.resource}")
            target = Target(
                key,
                _arn("scalable-target/" + uuid4().hex[:26]),
                time.time(),
                least=0,
                most=0,
                suspended=dict(_NOT_SUSPENDED),
            )
        least = request.get("MinCapacity", target.least)
        most = request.get("MaxCapacity", target.most)
        if not 0 <= least <= most:
            raise _invalid(f"MinCapacity {least} and MaxCapacity {most} are no range.")
        target.least, target.most = least, most
        target.suspended |= request.get("SuspendedState", {})
        target.tags |= request.get("Tags", {})
        self._registry[key] = target
        return {"ScalableTargetARN": target.arn}

    async def describe_targets(self, request: Request) -> Answer:
        wanted = request.get("ResourceIds")
        found = [
            {
                **_names(target),
                "MinCapacity": target.least,
                "MaxCapacity": target.most,
                "RoleARN": _ROLE,
                "CreationTime": target.created_s,
                "SuspendedState": target.suspended,
                "ScalableTargetARN": target.arn,
            }
            for target in self._matching(request)
            if not wanted or target.id.resource in wanted
        ]
        return {"ScalableTargets": found}

    async def deregister(self, request: Request) -> Answer:
        del self._registry[self._target(request).id]
        return {}

    async def put_policy(self, request: Request) -> Answer:
        target = self._target(request)
        kind = request.get("PolicyType", "StepScaling")
        if kind != "TargetTrackingScaling":
            raise _invalid(f"The emulator scales by TargetTrackingScaling only, not by {kind}.")
        tracking = request["TargetTrackingScalingPolicyConfiguration"]
        metric = tracking.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
        if metric not in METRICS:
            raise _invalid(f"The emulator tracks {' and '.join(METRICS)} only, not {metric}.")
        name = request["PolicyName"]
        policy = target.policies.get(name)
        if policy is None:
            path = f"scalingPolicy:{uuid4()}:resource/{NAMESPACE}/{target.id.resource}"
            arn = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:{path}:policyName/{name}"
            policy = target.policies[name] = Policy(name, arn, time.time(), tracking)
        policy.tracking = tracking
        return {"PolicyARN": policy.arn, "Alarms": []}

    async def describe_policies(self, request: Request) -> Answer:
        wanted = request.get("PolicyNames")
        found = [
            {
                **_names(target),
                "PolicyName": policy.name,
                "PolicyARN": policy.arn,
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": policy.tracking,
                "Alarms": [],
                "CreationTime": policy.created_s,
            }
            for target in self._matching(request)
            for policy in target.policies.values()
            if not wanted or policy.name in wanted
        ]
        return {"ScalingPolicies": found}

    async def delete_policy(self, request: Request) -> Answer:
        target, name = self._target(request), request["PolicyName"]
        if name not in target.policies:
            raise ApiError("ObjectNotFoundException", f"No scaling policy found: {name}")
        del target.policies[name]
        return {}

    async def describe_activities(self, request: Request) -> Answer:
        found = [each for target in self._matching(request) for each in target.activities]
        return {"ScalingActivities": found}

    async def tag(self, request: Request) -> Answer:
        self._by_arn(request).tags.update(request["Tags"])
        return {}

    async def untag(self, request: Request) -> Answer:
        tags = self._by_arn(request).tags
        for key in request["TagKeys"]:
            tags.pop(key, None)
        return {}

    async def list_tags(self, request: Request) -> Answer:
        return {"Tags": self._by_arn(request).tags}

    def _target(self, request: Request) -> Target:
        key = _id(request)
        if key not in self._registry:
            raise ApiError("ObjectNotFoundException", f"No scalable target found: {key}")
        return self._registry[key]

    def _by_arn(self, request: Request) -> Target:
        arn = request["ResourceARN"]
        for target in self._registry.values():
            if target.arn == arn:
                return target
        raise ApiError("ResourceNotFoundException", f"No scalable target has the ARN {arn}")

    def _matching(self, request: Request) -> list[Target]:
        return [
            target
            for target in self._registry.values()
            if target.id.namespace == request.get("ServiceNamespace")
            and request.get("ResourceId") in (None, target.id.resource)
            and request.get("ScalableDimension") in (None, target.id.dimension)
        ]


def _id(request: Request) -> TargetId:
    names = TargetId(
        request.get("ServiceNamespace", ""),
        request.get("ResourceId", ""),
        request.get("ScalableDimension", ""),
    )
    if (names.namespace, names.dimension) != (NAMESPACE, DIMENSION):
        raise _invalid(f"The emulator scales {DIMENSION} only, not {names.dimension}.")
    return names


def _arn(path: str) -> str:
    return f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:{path}"


def _names(target: Target) -> dict[str, str]:
    return {
        "ServiceNamespace": target.id.namespace,
        "ResourceId": target.id.resource,
        "ScalableDimension": target.id.dimension,
    }


def _invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)
