"""A cluster with services of `echo.py`, made with boto3 and deleted afterwards."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from pkg.devkit.docker_cli import ask
from pkg.trials.waiting import until
from tests.integration.cloud.emulated import IMAGE, Emulated

PROGRAM = (Path(__file__).parent / "echo.py").read_text()
CHECK = {
    "command": ["CMD", "python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health')"],
    "interval": 1,
    "timeout": 5,
    "retries": 2,
    "startPeriod": 60,
}  # fmt: skip
BREAKER = {"enable": True, "rollback": True}
_ENDED_WITHIN_S = 60.0


@dataclass(slots=True)
class Balancer:
    arn: str
    listener: str
    group: str
    url: str


@dataclass(slots=True)
class Cluster:
    emulator: Emulated
    name: str
    _opened: ExitStack = field(default_factory=ExitStack)

    @property
    def ecs(self) -> Any:  # noqa: ANN401
        return self.emulator.client("ecs")

    @property
    def elb(self) -> Any:  # noqa: ANN401
        return self.emulator.client("elbv2")

    def task_definition(self, **container: Any) -> str:  # noqa: ANN401
        """Options of the task's definition begin with `task_`."""
        options = {key: container.pop(key) for key in list(container) if key.startswith("task_")}
        definition = {
            "name": "main",
            "image": IMAGE,
            "essential": True,
            "entryPoint": ["python", "-c", PROGRAM],
            "portMappings": [{"containerPort": 8080}],
            "stopTimeout": 10,
            **container,
        }
        answer = self.ecs.register_task_definition(
            family=self.name,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            containerDefinitions=[definition],
            **{
                "cpu": "1024",
                "memory": "2048",
                **{key.removeprefix("task_"): value for key, value in options.items()},
            },
        )
        arn: str = answer["taskDefinition"]["taskDefinitionArn"]
        return arn

    def run_task(self, definition: str, **options: Any) -> str:  # noqa: ANN401
        answer = self.ecs.run_task(cluster=self.name, taskDefinition=definition, **options)
        arn: str = answer["tasks"][0]["taskArn"]
        return arn

    def task(self, arn: str) -> dict[str, Any]:
        answer = self.ecs.describe_tasks(cluster=self.name, tasks=[arn])
        found: dict[str, Any] = answer["tasks"][0]
        return found

    async def ended(self, arn: str) -> dict[str, Any]:
        await until(
            lambda: self.task(arn)["lastStatus"] == "STOPPED",
            within_s=_ENDED_WITHIN_S,
            what="the task has ended",
        )
        return self.task(arn)

    def container(self, arn: str) -> str:
        """Of a task with a single one."""
        label = f"label=com.amazonaws.ecs.task-arn={arn}"
        return ask("ps", "-aq", "--no-trunc", "--filter", label).strip()

    def address(self, arn: str) -> str:
        details = self.task(arn)["attachments"][0]["details"]
        return str({each["name"]: each["value"] for each in details}["privateIPv4Address"])

    def ask_task(self, arn: str, path: str, body: bytes | None = None) -> Any:  # noqa: ANN401
        return get(f"http://{self.address(arn)}:8080{path}", body)

    def service(self, name: str, definition: str, **options: Any) -> str:  # noqa: ANN401
        self.ecs.create_service(
            cluster=self.name,
            serviceName=name,
            taskDefinition=definition,
            launchType="FARGATE",
            **{"desiredCount": 1, **options},
        )
        self._opened.callback(self._delete_service, name)
        return name

    def _delete_service(self, name: str) -> None:
        self.ecs.delete_service(cluster=self.name, service=name, force=True)

    def described(self, name: str) -> dict[str, Any]:
        answer = self.ecs.describe_services(cluster=self.name, services=[name])
        found: dict[str, Any] = answer["services"][0]
        return found

    def tasks(self, name: str) -> list[str]:
        answer = self.ecs.list_tasks(cluster=self.name, serviceName=name, desiredStatus="RUNNING")
        return [str(each) for each in answer["taskArns"]]

    async def stable(self, name: str, *, within_s: float = 60.0) -> list[str]:
        """As `aws ecs wait services-stable` sees it, and completed. Its tasks."""
        await until(
            lambda: _is_stable(self.described(name)),
            within_s=within_s,
            what=f"{name} is stable",
            every_s=0.2,
            log=lambda: (
                json.dumps(self.described(name), default=str, indent=1) + self.emulator.log()
            ),
        )
        return self.tasks(name)

    def balancer(self, *, delay_s: int = 5, idle_s: int = 60) -> Balancer:
        elb = self.elb
        group = elb.create_target_group(
            Name=self.name,
            Protocol="HTTP",
            Port=8080,
            TargetType="ip",
            HealthCheckPath="/health",
            HealthCheckIntervalSeconds=5,
            HealthCheckTimeoutSeconds=3,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=2,
        )["TargetGroups"][0]["TargetGroupArn"]
        elb.modify_target_group_attributes(
            TargetGroupArn=group,
            Attributes=[
                {"Key": "deregistration_delay.timeout_seconds", "Value": str(delay_s)},
            ],
        )
        arn = elb.create_load_balancer(Name=self.name)["LoadBalancers"][0]["LoadBalancerArn"]
        elb.modify_load_balancer_attributes(
            LoadBalancerArn=arn,
            Attributes=[{"Key": "idle_timeout.timeout_seconds", "Value": str(idle_s)}],
        )
        listener = elb.create_listener(
            LoadBalancerArn=arn,
            Port=80,
            Protocol="HTTP",
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        )["Listeners"][0]["ListenerArn"]
        elb.get_waiter("load_balancer_available").wait(
            LoadBalancerArns=[arn], WaiterConfig={"Delay": 1}
        )
        self._opened.callback(elb.delete_target_group, TargetGroupArn=group)
        self._opened.callback(elb.delete_load_balancer, LoadBalancerArn=arn)
        self._opened.callback(elb.delete_listener, ListenerArn=listener)
        name = elb.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]["DNSName"]
        return Balancer(arn, listener, group, f"http://{name}")

    def balanced(self, balancer: Balancer) -> dict[str, Any]:
        """Options of a service behind it."""
        return {
            "healthCheckGracePeriodSeconds": 60,
            "loadBalancers": [
                {
                    "targetGroupArn": balancer.group,
                    "containerName": "main",
                    "containerPort": 8080,
                }
            ],
        }

    def health(self, balancer: Balancer) -> dict[str, str]:
        """State by address."""
        answer = self.elb.describe_target_health(TargetGroupArn=balancer.group)
        return {
            each["Target"]["Id"]: each["TargetHealth"]["State"]
            for each in answer["TargetHealthDescriptions"]
        }

    def close(self) -> None:
        self._opened.close()


def _is_stable(service: dict[str, Any]) -> bool:
    deployments = service["deployments"]
    return (
        len(deployments) == 1
        and service["runningCount"] == service["desiredCount"]
        and deployments[0]["rolloutState"] == "COMPLETED"
    )


def get(url: str, body: bytes | None = None) -> Any:  # noqa: ANN401
    with urlopen(Request(url, body), timeout=10) as answer:  # noqa: S310
        text = answer.read().decode()
        return json.loads(text) if answer.headers.get_content_type().endswith("json") else text


def answers(url: str) -> Callable[[], bool]:
    def ask_it() -> bool:
        try:
            get(url)
        except OSError:
            return False
        return True

    return ask_it


@contextmanager
def cluster(emulator: Emulated) -> Iterator[Cluster]:
    this = Cluster(emulator, f"t{uuid.uuid4().hex[:10]}")
    this.ecs.create_cluster(clusterName=this.name)
    try:
        yield this
    finally:
        for arn in this.ecs.list_tasks(cluster=this.name)["taskArns"]:
            this.ecs.stop_task(cluster=this.name, task=arn)
        this.close()
        this.ecs.delete_cluster(cluster=this.name)
