"""Services keep their tasks, and roll-outs lose no request."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from pkg.devkit.docker_cli import ask
from pkg.trials.waiting import until
from tests.integration.cloud.ecs import BREAKER, CHECK, Cluster, cluster
from tests.integration.cloud.emulated import IMAGE, Emulated

pytestmark = pytest.mark.timeout(240)

REPLACED_WITHIN_S = 20.0
"""Seconds on an idle machine; a new task starts Python on a quarter of a processor."""


@pytest.fixture
def ecs(emulator: Emulated) -> Iterator[Cluster]:
    with cluster(emulator) as this:
        yield this


@pytest.mark.parametrize("how", ["stop-task", "docker kill", "crash", "falls ill"])
async def test_task_that_ends_is_replaced(ecs: Cluster, how: str) -> None:
    service = ecs.service("api", ecs.task_definition(healthCheck=CHECK))
    (first,) = await ecs.stable(service)

    match how:
        case "stop-task":
            ecs.ecs.stop_task(cluster=ecs.name, task=first)
        case "docker kill":
            ask("kill", ecs.container(first))
        case "crash":
            with pytest.raises(OSError):
                ecs.ask_task(first, "/end", b"")
        case _:
            ecs.ask_task(first, "/sick", b"")

    await until(
        lambda: (found := ecs.tasks(service)) and first not in found,
        within_s=REPLACED_WITHIN_S,
        what="another task",
    )
    assert len(await ecs.stable(service)) == 1
    code = (await ecs.ended(first))["stopCode"]
    assert code == {
        "stop-task": "UserInitiated",
        "falls ill": "ServiceSchedulerInitiated",
    }.get(how, "EssentialContainerExited")


class Failures(list[str]):
    answered = 0


@asynccontextmanager
async def load(url: str) -> AsyncIterator[Failures]:
    """Four clients ask until the block ends; each request takes a little while."""
    failures = Failures()
    ending = asyncio.Event()

    async def ask_on(session: ClientSession) -> None:
        while not ending.is_set():
            try:
                async with session.get(f"{url}/?seconds=0.05") as answer:
                    await answer.read()
                    if answer.status == 200:
                        failures.answered += 1
                    else:
                        failures.append(f"{answer.status}: {(await answer.text())[:80]}")
            except (ClientError, TimeoutError) as error:
                failures.append(repr(error))

    async with ClientSession(timeout=ClientTimeout(10)) as session, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(ask_on(session))
        yield failures
        ending.set()


async def test_neither_a_roll_out_nor_a_stopped_task_fails_a_request(ecs: Cluster) -> None:
    balancer = ecs.balancer()
    service = ecs.service(
        "api",
        ecs.task_definition(healthCheck=CHECK),
        desiredCount=2,
        **ecs.balanced(balancer),
    )
    before = await ecs.stable(service, within_s=90)

    async with load(balancer.url) as failures:
        ecs.ecs.update_service(cluster=ecs.name, service=service, forceNewDeployment=True)
        rolled = await ecs.stable(service, within_s=120)
        ecs.ecs.stop_task(cluster=ecs.name, task=rolled[0])
        await ecs.ended(rolled[0])
        await ecs.stable(service, within_s=90)

    assert not set(before) & set(rolled)
    assert failures == [], f"{len(failures)} of {failures.answered} failed"
    assert failures.answered > 20


async def test_wrong_image_is_rolled_back_and_the_old_tasks_never_stop(ecs: Cluster) -> None:
    good = ecs.task_definition()
    service = ecs.service(
        "api", good, deploymentConfiguration={"deploymentCircuitBreaker": BREAKER}
    )
    before = await ecs.stable(service)
    wrong = ecs.task_definition(image="bidding-system/nobody-made-this:1")

    ecs.ecs.update_service(cluster=ecs.name, service=service, taskDefinition=wrong)
    await until(
        lambda: ecs.described(service)["taskDefinition"] == good,
        within_s=60,
        what="it is rolled back",
        log=ecs.emulator.log,
    )

    assert await ecs.stable(service) == before
    messages = [each["message"] for each in ecs.described(service)["events"]]
    assert any("rolling back" in each for each in messages)


async def test_program_that_ends_at_once_is_rolled_back_too(ecs: Cluster) -> None:
    good = ecs.task_definition()
    service = ecs.service(
        "api", good, deploymentConfiguration={"deploymentCircuitBreaker": BREAKER}
    )
    before = await ecs.stable(service)
    wrong = ecs.task_definition(entryPoint=["sh", "-c", "exit 1"])

    ecs.ecs.update_service(cluster=ecs.name, service=service, taskDefinition=wrong)
    await until(
        lambda: ecs.described(service)["taskDefinition"] == good, within_s=60, what="rolled back"
    )

    assert await ecs.stable(service) == before


async def test_first_deployment_fails_without_an_image_and_the_next_one_succeeds(
    ecs: Cluster,
) -> None:
    image = f"bidding-system/{ecs.name}:later"
    service = ecs.service(
        "api",
        ecs.task_definition(image=image),
        deploymentConfiguration={"deploymentCircuitBreaker": BREAKER},
    )
    await until(
        lambda: ecs.described(service)["deployments"][0]["rolloutState"] == "FAILED",
        within_s=60,
        what="the first deployment fails",
    )

    ask("tag", IMAGE, image)
    try:
        ecs.ecs.update_service(cluster=ecs.name, service=service, forceNewDeployment=True)
        await ecs.stable(service)
        waiter = ecs.ecs.get_waiter("services_stable")
        waiter.wait(cluster=ecs.name, services=[service], WaiterConfig={"MaxAttempts": 1})
    finally:
        ask("rmi", "--no-prune", image)


async def test_single_service_never_has_two_tasks(ecs: Cluster) -> None:
    service = ecs.service(
        "nats",
        ecs.task_definition(),
        deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 100},
    )
    (first,) = await ecs.stable(service)

    ecs.ecs.update_service(cluster=ecs.name, service=service, forceNewDeployment=True)
    (second,) = await ecs.stable(service)

    assert second != first
    assert ecs.task(first)["stoppedAt"] <= ecs.task(second)["createdAt"]


async def test_deleted_service_is_inactive_once_its_tasks_have_ended(ecs: Cluster) -> None:
    tags = [{"key": "Project", "value": ecs.name}]
    service = ecs.service("api", ecs.task_definition(), tags=tags, propagateTags="SERVICE")
    (task,) = await ecs.stable(service)
    assert ecs.task(task)["tags"] == tags

    ecs.ecs.delete_service(cluster=ecs.name, service=service, force=True)

    await until(lambda: ecs.described(service)["status"] == "INACTIVE", within_s=30)
    assert ecs.task(task)["lastStatus"] == "STOPPED"
    assert ecs.container(task) == ""
    await until(lambda: task not in tagged(ecs), within_s=5, what="its tags are gone")


def tagged(ecs: Cluster) -> list[str]:
    filters = [{"Key": "Project", "Values": [ecs.name]}]
    answer = ecs.emulator.client("resourcegroupstaggingapi").get_resources(TagFilters=filters)
    return [each["ResourceARN"] for each in answer["ResourceTagMappingList"]]
