"""The API scales out under load and back in, and many bidders on one item stay exact."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pkg.trials.waiting import until
from tests.integration.cloud.deployment import CLUSTER, Deployment
from tests.integration.cloud.guide import AUDITED
from tests.integration.cloud.journey.crowd import crowd

pytestmark = pytest.mark.timeout(1500)  # whichever is the first deploys

API = "bidding-system-api-gateway"
LEAST, CONTENDING = 2, 3
BIDS = 600
_TARGET = 1500
"""Requests a minute per task: two tasks cannot bear the load."""

_OUT_WITHIN_S = 180.0
_IN_WITHIN_S = 300.0


@contextmanager
def lower_target(deployment: Deployment) -> Iterator[None]:
    """This machine cannot make what Terraform's policy takes for a lot of requests."""
    scaling = deployment.emulator.client("application-autoscaling")
    target = {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/{CLUSTER}/{API}",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    name = f"{API}-requests"
    (policy,) = scaling.describe_scaling_policies(**target, PolicyNames=[name])["ScalingPolicies"]

    def put(settings: dict[str, Any]) -> None:
        scaling.put_scaling_policy(
            **target,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=settings,
        )

    settings = policy["TargetTrackingScalingPolicyConfiguration"]
    put(settings | {"TargetValue": _TARGET})
    try:
        yield
    finally:
        put(settings)


def healthy(deployment: Deployment) -> int:
    """Tasks that the load balancer sends requests to."""
    elb = deployment.emulator.client("elbv2")
    (group,) = elb.describe_target_groups(Names=["bidding-api"])["TargetGroups"]
    answer = elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])
    states = [each["TargetHealth"]["State"] for each in answer["TargetHealthDescriptions"]]
    return states.count("healthy")


async def test_contended_item_scales_the_api_out_and_in_and_stays_exact(
    deployment: Deployment,
) -> None:
    with lower_target(deployment):
        # 64 bidders on one item, and half of them use the optimistic strategy.
        async with crowd(deployment, ["contended"] * 16, rate_per_s=120) as load:
            await until(
                lambda: healthy(deployment) >= CONTENDING,
                within_s=_OUT_WITHIN_S,
                every_s=0.5,
                what="three tasks answer",
                log=deployment.emulator.log,
            )
            await load.bids_on(BIDS)

        seqs = sorted(bid.seq for bid in load.ledger.accepted.values())
        assert load.ledger.defects == []
        assert not load.ledger.unknown
        assert seqs == list(range(1, len(seqs) + 1))
        await load.every_bid_is_archived()
        audit = await asyncio.to_thread(deployment.guide.audit)
        assert audit.startswith(AUDITED)
        await until(
            lambda: deployment.services.described(API)["desiredCount"] == LEAST,
            within_s=_IN_WITHIN_S,
            every_s=1,
            what="it scales in",
            log=deployment.emulator.log,
        )
