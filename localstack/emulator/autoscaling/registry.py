"""Scalable targets, their policies and what was scaled: state in memory, like MiniStack's."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_ACTIVITIES = 100
"""The most that a target remembers."""


class TargetId(NamedTuple):
    """What AWS identifies a scalable target by."""

    namespace: str
    resource: str
    """``service/CLUSTER/SERVICE``"""
    dimension: str


@dataclass(slots=True)
class Policy:
    name: str
    arn: str
    created_s: float
    tracking: dict[str, Any]
    """TargetTrackingScalingPolicyConfiguration, as it was put."""


@dataclass(slots=True)
class Target:
    id: TargetId
    arn: str
    created_s: float
    least: int
    most: int
    suspended: dict[str, bool]
    tags: dict[str, str] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    activities: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_ACTIVITIES))
    """As DescribeScalingActivities shows them, newest first."""


Registry = dict[TargetId, Target]
