"""Scales ECS services as their policies ask."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from localstack.emulator.autoscaling.metrics import TrackedMetrics
from localstack.emulator.autoscaling.registry import Policy, Registry, Target, TargetId
from localstack.emulator.autoscaling.tracking import Tracking, agreed, wanted
from localstack.emulator.aws import call

_DEFAULT_COOLDOWN_S = 300

log = logging.getLogger("emulator.autoscaling")


@dataclass(slots=True)
class _Last:
    out_s: float = field(default=float("-inf"))
    in_s: float = field(default=float("-inf"))


class Control:
    def __init__(
        self,
        registry: Registry,
        metrics: TrackedMetrics,
        ecs: Any,  # noqa: ANN401 - botocore's
        *,
        minute_s: float,
    ) -> None:
        """A `minute_s` below 60 shortens cooldowns, and what policies call minutes, alike."""
        self._registry = registry
        self._metrics = metrics
        self._ecs = ecs
        self._minute_s = minute_s
        self._last: dict[TargetId, _Last] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._minute_s / 6)
            for target in list(self._registry.values()):
                try:
                    await self.scale(target, time.time())
                except (BotoCoreError, ClientError):
                    log.exception("cannot scale %s; trying again", target.id.resource)

    async def scale(self, target: Target, now_s: float) -> None:
        _kind, cluster, name = target.id.resource.split("/")
        found = await call(self._ecs.describe_services, cluster=cluster, services=[name])
        active = [each for each in found["services"] if each["status"] == "ACTIVE"]
        if not active:
            return
        count = active[0]["desiredCount"]
        # Requests may add and remove policies while one is asked for its wish.
        policies = list(target.policies.values())
        wishes = {each.name: await self._wish(each, target, count, now_s) for each in policies}
        to = agreed(wishes.values(), count=count, least=target.least, most=target.most)
        if to == count or not self._may(target, policies, count, to, now_s):
            return
        await call(self._ecs.update_service, cluster=cluster, service=name, desiredCount=to)
        last = self._last.setdefault(target.id, _Last())
        if to > count:
            last.out_s = now_s
        else:
            last.in_s = now_s
        asked = [name for name, wish in wishes.items() if wish == to]
        cause = f"policies {', '.join(asked)}" if asked else "the capacity's limits"
        self._note(target, to, cause, now_s)

    async def _wish(self, policy: Policy, target: Target, count: int, now_s: float) -> int:
        values = await self._metrics.of(policy.tracking, target.id.resource, now_s)
        return wanted(values, _tracking(policy), count=count)

    def _may(
        self, target: Target, policies: list[Policy], count: int, to: int, now_s: float
    ) -> bool:
        """Whether neither a cooldown nor a suspension forbids it. Limits know no cooldown."""
        if not target.least <= count <= target.most:
            return True
        last = self._last.get(target.id, _Last())
        trackings = [_tracking(each) for each in policies]
        if to > count:
            cooldown_s = max(each.out_cooldown_s for each in trackings)
            since_s = now_s - last.out_s
            suspended = target.suspended["DynamicScalingOutSuspended"]
        else:
            cooldown_s = max(each.in_cooldown_s for each in trackings)
            since_s = now_s - max(last.in_s, last.out_s)
            suspended = target.suspended["DynamicScalingInSuspended"]
        return not suspended and since_s >= cooldown_s * self._minute_s / 60

    def _note(self, target: Target, to: int, cause: str, now_s: float) -> None:
        log.info("%s: %d tasks, by %s", target.id.resource, to, cause)
        target.activities.appendleft(
            {
                "ActivityId": str(uuid4()),
                "ServiceNamespace": target.id.namespace,
                "ResourceId": target.id.resource,
                "ScalableDimension": target.id.dimension,
                "Description": f"Setting desired count to {to}.",
                "Cause": cause,
                "StartTime": now_s,
                "EndTime": now_s,
                "StatusCode": "Successful",
                "StatusMessage": f"Successfully set desired count to {to}.",
            }
        )


def _tracking(policy: Policy) -> Tracking:
    settings = policy.tracking
    return Tracking(
        settings["TargetValue"],
        settings.get("ScaleOutCooldown", _DEFAULT_COOLDOWN_S),
        settings.get("ScaleInCooldown", _DEFAULT_COOLDOWN_S),
        may_scale_in=not settings.get("DisableScaleIn", False),
    )
