"""Requests reach tasks through the load balancer's own address."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse

from pkg.devkit.docker_cli import ask
from pkg.trials.waiting import until
from tests.integration.cloud.ecs import Balancer, Cluster, answers, cluster, get
from tests.integration.cloud.emulated import Emulated

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def ecs(emulator: Emulated) -> Iterator[Cluster]:
    with cluster(emulator) as this:
        yield this


@pytest.fixture
async def balancer(ecs: Cluster) -> Balancer:
    """With one healthy task behind it, that stays for the other test's time."""
    this = ecs.balancer(delay_s=30)
    ecs.service("api", ecs.task_definition(), **ecs.balanced(this))
    await ecs.stable("api", within_s=90)
    return this


def container(balancer: Balancer) -> str:
    name = "ministack-alb-{}-{}".format(*balancer.arn.split("/")[-2:])
    return ask("ps", "-aq", "--no-trunc", "--filter", f"name={name}").strip()


async def test_address_works_and_tasks_learn_who_asked(ecs: Cluster, balancer: Balancer) -> None:
    answer = get(f"{balancer.url}/anything")

    fields = {name.lower(): value for name, value in answer["fields"].items()}
    assert fields["x-forwarded-proto"] == "http"
    assert fields["x-forwarded-port"] == "80"
    assert fields["x-amzn-trace-id"].startswith("Root=")
    assert fields["x-forwarded-for"]
    assert fields["host"] == balancer.url.removeprefix("http://")


async def test_its_health_is_the_tasks_not_the_emulators(ecs: Cluster, balancer: Balancer) -> None:
    async with ClientSession() as session, session.get(f"{balancer.url}/health") as answer:
        assert answer.status == 200
        assert "aiohttp" in answer.headers["Server"]
        assert await answer.read() == b""


async def test_it_is_reached_from_this_machine_only(ecs: Cluster, balancer: Balancer) -> None:
    ports = ask("port", container(balancer)).splitlines()

    assert ports
    assert all("-> 127.0.0.1:" in each for each in ports)


async def test_websocket_goes_both_ways(ecs: Cluster, balancer: Balancer) -> None:
    async with ClientSession() as session, session.ws_connect(f"{balancer.url}/ws") as viewer:
        for text in ("first", "x" * 100_000):
            await viewer.send_str(text)
            assert await viewer.receive_str(timeout=10) == text


async def test_rules_are_followed_and_changed_ones_too(ecs: Cluster, balancer: Balancer) -> None:
    def hide(text: str) -> dict[str, object]:
        return {
            "Actions": [
                {
                    "Type": "fixed-response",
                    "FixedResponseConfig": {
                        "StatusCode": "404",
                        "ContentType": "application/json",
                        "MessageBody": text,
                    },
                }
            ]
        }

    async def says(text: str) -> None:
        async def said() -> bool:
            async with ClientSession() as session, session.get(f"{balancer.url}/ready/x") as one:
                return one.status == 404 and await one.text() == text

        await until(said, within_s=10, what=f"it says {text}")

    rule = ecs.elb.create_rule(
        ListenerArn=balancer.listener,
        Priority=10,
        Conditions=[
            {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/ready", "/ready/*"]}}
        ],
        **hide('{"a":1}'),
    )["Rules"][0]["RuleArn"]
    await says('{"a":1}')
    ecs.elb.modify_rule(RuleArn=rule, **hide('{"b":2}'))
    await says('{"b":2}')
    assert get(f"{balancer.url}/readying")["host"]


async def test_target_is_healthy_only_while_it_answers_as_it_should(
    ecs: Cluster, balancer: Balancer
) -> None:
    (task,) = ecs.tasks("api")
    address = ecs.address(task)
    assert ecs.health(balancer) == {address: "healthy"}

    ecs.ask_task(task, "/sick", b"")

    await until(lambda: ecs.health(balancer).get(address) == "unhealthy", within_s=20, every_s=0.1)
    ecs.ecs.update_service(cluster=ecs.name, service="api", healthCheckGracePeriodSeconds=0)
    await until(
        lambda: (
            [state for key, state in ecs.health(balancer).items() if key != address] == ["healthy"]
        ),
        within_s=40,
        every_s=0.1,
    )


async def test_request_in_flight_ends_before_its_task_does(
    ecs: Cluster, balancer: Balancer
) -> None:
    (task,) = ecs.tasks("api")
    address = ecs.address(task)
    async with ClientSession() as session:

        async def slow() -> int:
            async with session.get(f"{balancer.url}/?seconds=6") as answer:
                await answer.read()
                return answer.status

        asking = asyncio.create_task(slow())
        await asyncio.sleep(1)

        ecs.ecs.stop_task(cluster=ecs.name, task=task)
        await until(lambda: ecs.health(balancer).get(address) == "draining", within_s=5)

        assert ecs.task(task)["lastStatus"] == "DEACTIVATING"
        assert await asking == 200
    await ecs.ended(task)


async def test_viewer_is_told_to_go_when_the_delay_is_over(ecs: Cluster) -> None:
    balancer = ecs.balancer(delay_s=3)
    ecs.service("api", ecs.task_definition(), **ecs.balanced(balancer))
    (task,) = await ecs.stable("api", within_s=90)
    async with ClientSession() as session, session.ws_connect(f"{balancer.url}/ws") as viewer:
        assert isinstance(viewer, ClientWebSocketResponse)

        ecs.ecs.stop_task(cluster=ecs.name, task=task)
        await viewer.send_str("still there")
        assert await viewer.receive_str(timeout=5) == "still there"

        await viewer.receive(timeout=30)
        assert viewer.closed
    await ecs.ended(task)


async def test_killed_load_balancer_is_back_at_its_address(
    ecs: Cluster, balancer: Balancer
) -> None:
    first = container(balancer)

    ask("kill", first)

    await until(answers(f"{balancer.url}/"), within_s=30, what="it answers again")
    assert container(balancer) != first


async def test_deleted_load_balancer_leaves_no_container(ecs: Cluster) -> None:
    balancer = ecs.balancer()
    assert container(balancer)

    ecs.elb.delete_load_balancer(LoadBalancerArn=balancer.arn)

    await until(lambda: container(balancer) == "", within_s=20, what="its container is gone")


async def test_requests_by_target_are_metrics(ecs: Cluster, balancer: Balancer) -> None:
    for _ in range(20):
        get(f"{balancer.url}/")

    def counted() -> float:
        answer = ecs.emulator.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/ApplicationELB",
            MetricName="RequestCountPerTarget",
            Dimensions=[{"Name": "TargetGroup", "Value": balancer.group.rsplit(":", 1)[1]}],
            StartTime=datetime.now(UTC) - timedelta(minutes=10),
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )
        return float(sum(each["Sum"] for each in answer["Datapoints"]))

    await until(lambda: counted() == 20, within_s=30, every_s=0.5)
