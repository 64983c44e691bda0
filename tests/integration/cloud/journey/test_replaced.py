"""Tasks are replaced under load, and no bidder or viewer loses anything."""

import asyncio
from typing import Any

import pytest

from pkg.devkit.cloud.services import Record, Services
from pkg.trials.waiting import until
from tests.integration.cloud.deployment import CLUSTER, Deployment
from tests.integration.cloud.guide import AUDITED
from tests.integration.cloud.journey.crowd import crowd

pytestmark = pytest.mark.timeout(1500)  # whichever is the first deploys

API = "bidding-system-api-gateway"
NATS = "bidding-system-nats"
_STEADY_WITHIN_S = 240.0


def running(services: Services, name: str) -> set[str]:
    """ARNs of tasks."""
    return {task["taskArn"] for task in services.tasks(name)}


async def steady(services: Services, name: str) -> Record:
    def wait() -> None:
        services.wait([name], say=lambda _: None, within_s=_STEADY_WITHIN_S)

    await asyncio.to_thread(wait)
    return services.described(name)


async def stop(deployment: Deployment, service: str) -> str:
    """One of its tasks; returns when another one is in its place."""
    services = deployment.services
    stopped = min(running(services, service))
    deployment.emulator.client("ecs").stop_task(cluster=CLUSTER, task=stopped)
    await until(
        lambda: (now := running(services, service)) and stopped not in now,
        within_s=_STEADY_WITHIN_S,
        every_s=0.5,
        what=f"{service} has another task",
    )
    await steady(services, service)
    return stopped


async def test_new_deployment_of_the_api_fails_no_request(deployment: Deployment) -> None:
    services = deployment.services
    before = running(services, API)

    async with crowd(deployment, [f"rolled-{number}" for number in range(8)]) as load:
        await asyncio.to_thread(services.roll, [API], say=lambda _: None)

    assert before.isdisjoint(running(services, API))
    assert load.failures() == []
    await load.every_bid_is_archived()


async def test_stopped_task_of_the_api_fails_no_request(deployment: Deployment) -> None:
    async with crowd(deployment, [f"stopped-{number}" for number in range(8)]) as load:
        stopped = await stop(deployment, API)

    assert stopped not in running(deployment.services, API)
    assert load.failures() == []
    await load.every_bid_is_archived()


async def test_replaced_nats_loses_nothing(deployment: Deployment) -> None:
    """Its store is on the file system, and meanwhile events wait in Redis."""
    async with crowd(deployment, [f"nats-{number}" for number in range(8)]) as load:
        await stop(deployment, NATS)

    assert load.failures() == []
    await load.every_bid_is_archived()
    audit = await asyncio.to_thread(deployment.guide.audit)
    assert audit.startswith(AUDITED)


async def test_wrong_image_is_rolled_back_and_bidders_notice_nothing(
    deployment: Deployment,
) -> None:
    ecs, services = deployment.emulator.client("ecs"), deployment.services
    before, tasks = services.described(API)["taskDefinition"], running(services, API)
    wrong = ecs.register_task_definition(**_with_tag(services.definition(API), "never-pushed"))
    arn = wrong["taskDefinition"]["taskDefinitionArn"]

    async with crowd(deployment, [f"wrong-{number}" for number in range(4)]) as load:
        ecs.update_service(cluster=CLUSTER, service=API, taskDefinition=arn)
        await until(
            lambda: services.described(API)["taskDefinition"] == before,
            within_s=120,
            every_s=0.5,
            what="it is rolled back",
            log=deployment.emulator.log,
        )
        after = await steady(services, API)
    ecs.deregister_task_definition(taskDefinition=arn)

    assert any("rolling back" in each["message"] for each in after["events"])
    assert tasks & running(services, API)
    assert load.failures() == []


def _with_tag(definition: Record, tag: str) -> dict[str, Any]:
    """What registers the same definition with another image."""
    (container,) = definition["containerDefinitions"]
    image = f"{container['image'].rpartition(':')[0]}:{tag}"
    kept = {key: value for key, value in definition.items() if key in _REGISTERED}
    return {**kept, "containerDefinitions": [{**container, "image": image}]}


_REGISTERED = frozenset(
    [
        "family",
        "taskRoleArn",
        "executionRoleArn",
        "networkMode",
        "volumes",
        "requiresCompatibilities",
        "cpu",
        "memory",
        "runtimePlatform",
    ]
)
