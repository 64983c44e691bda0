"""AWS' answers to a deployment in which all is well. A test changes what it is about."""

from collections.abc import Callable
from typing import Any

from pkg.devkit.cloud.aws import AwsRefused
from pkg.devkit.cloud.state_dir import Outputs

CLUSTER = "bidding-system-cluster"
PARTS = ("api-gateway", "broadcast-service", "archival-worker", "nats")
REGISTRY = "localhost:4566"

_API = "bidding-system-api-gateway"
_IMAGE = "bidding-system/api-gateway:latest"
COMMANDS = f"""\
: "${{AWS_ENDPOINT_URL:?must be the emulator, as in step 1 of the guide}}"
export AWS_PAGER=
aws ecr get-login-password --region us-east-1 | docker login -u AWS --password-stdin {REGISTRY}
docker build --build-arg REVISION=$(git rev-parse HEAD) -t {_IMAGE} -f compose/Dockerfile .
docker tag {_IMAGE} {REGISTRY}/{_IMAGE}
docker push {REGISTRY}/{_IMAGE}
aws ecs update-service --cluster {CLUSTER} --service {_API} --force-new-deployment
"""

OUTPUTS = Outputs(
    ecs_cluster_name=CLUSTER,
    alb_url="http://localhost:32801",
    ws_url="ws://localhost:32801",
    rds_endpoint="ministack-rds-1",
    rds_port=5432,
    redis_endpoint="ministack-redis-1",
    ecr_api_gateway_url=f"{REGISTRY}/bidding-system/api-gateway",
    deployment_commands=COMMANDS,
)

Answer = dict[str, Any] | Callable[..., dict[str, Any]]


def quiet(_: str) -> None:
    """Says nothing."""


class FakeAws:
    def __init__(self, account: str = "000000000000") -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.services = {f"bidding-system-{part}": service(part) for part in PARTS}
        self.stopped: dict[str, list[dict[str, Any]]] = {}
        self.environments = {
            f"bidding-system-{part}": {
                "REDIS_URL": "rediss://ministack-redis-1:6379/0",
                "POSTGRES_URL": "postgresql://bidding@ministack-rds-1:5432/bidding?sslmode=require",
            }
            for part in PARTS
        }
        self.admitted = {
            "redis": ["api-gateway", "broadcast-service", "archival-worker"],
            "postgres": ["archival-worker"],
        }
        self.answers: dict[str, Answer] = {
            "get_caller_identity": {"Account": account},
            "list_services": {
                "serviceArns": [f"arn:ecs:service/c/{name}" for name in self.services]
            },
            "describe_services": self._describe_services,
            "list_tasks": self._list_tasks,
            "describe_tasks": self._describe_tasks,
            "describe_task_definition": self._describe_task_definition,
            "update_service": self._update_service,
            "describe_scalable_targets": {"ScalableTargets": []},
            "describe_target_groups": lambda Names: {  # noqa: N803
                "TargetGroups": [{"TargetGroupArn": f"arn:{Names[0]}"}]
            },
            "describe_target_health": {
                "TargetHealthDescriptions": [
                    {"Target": {"Id": "10.0.0.7"}, "TargetHealth": {"State": "healthy"}}
                ]
            },
            "describe_replication_groups": {
                "ReplicationGroups": [
                    {
                        "Status": "available",
                        "MemberClusters": ["bidding-system-001"],
                        "NodeGroups": [
                            {"PrimaryEndpoint": {"Address": "ministack-redis-1", "Port": 6379}}
                        ],
                    }
                ]
            },
            "describe_db_instances": {
                "DBInstances": [
                    {
                        "DBInstanceStatus": "available",
                        "Endpoint": {"Address": "ministack-rds-1", "Port": 5432},
                        "PendingModifiedValues": {},
                    }
                ]
            },
            "describe_load_balancers": {
                "LoadBalancers": [
                    {
                        "LoadBalancerArn": "arn:lb",
                        "DNSName": "localhost:32801",
                        "State": {"Code": "active"},
                    }
                ]
            },
            "describe_load_balancer_attributes": {
                "Attributes": [{"Key": "idle_timeout.timeout_seconds", "Value": "65"}]
            },
            "describe_security_groups": lambda Filters: {  # noqa: N803
                "SecurityGroups": [
                    {"GroupName": name, "GroupId": f"sg-{name}"} for name in Filters[0]["Values"]
                ]
            },
            "describe_security_group_rules": self._rules,
            "filter_log_events": {"events": []},
            "list_secrets": {"SecretList": [{"Name": "bidding-system/db-password"}]},
        }

    def ask(self, service: str, operation: str, /, **arguments: object) -> dict[str, Any]:
        self.calls.append((f"{service}.{operation}", dict(arguments)))
        if operation not in self.answers:
            raise AwsRefused(f"AWS refused {operation}.", "NotFaked")
        answer = self.answers[operation]
        return answer(**arguments) if callable(answer) else answer

    def asked(self, operation: str) -> list[dict[str, Any]]:
        """The arguments of each such call."""
        return [given for name, given in self.calls if name == operation]

    def _describe_services(self, cluster: str, services: list[str]) -> dict[str, Any]:
        assert cluster == CLUSTER
        return {"services": [self.services[name] for name in services]}

    def _list_tasks(self, cluster: str, serviceName: str, desiredStatus: str) -> dict[str, Any]:  # noqa: N803 - as in AWS
        assert cluster == CLUSTER
        if desiredStatus == "STOPPED":
            return {"taskArns": [one["taskArn"] for one in self.stopped.get(serviceName, [])]}
        count = self.services[serviceName]["runningCount"]
        return {"taskArns": [f"arn:task/{serviceName}/{number:08}aa" for number in range(count)]}

    def _describe_tasks(self, cluster: str, tasks: list[str]) -> dict[str, Any]:
        assert cluster == CLUSTER
        stopped = {one["taskArn"]: one for several in self.stopped.values() for one in several}
        return {"tasks": [stopped.get(arn) or self._task(arn) for arn in tasks]}

    def _task(self, arn: str) -> dict[str, Any]:
        name = arn.split("/")[1]
        return {
            "taskArn": arn,
            "taskDefinitionArn": self.services[name]["taskDefinition"],
            "lastStatus": "RUNNING",
            "desiredStatus": "RUNNING",
            "healthStatus": "HEALTHY",
            "containers": [{"name": "main", "healthStatus": "HEALTHY"}],
            "attachments": [{"details": [{"name": "privateIPv4Address", "value": "10.0.0.7"}]}],
        }

    def _describe_task_definition(self, taskDefinition: str) -> dict[str, Any]:  # noqa: N803
        environment = self.environments[taskDefinition.split("/")[1].partition(":")[0]]
        listed = [{"name": name, "value": value} for name, value in environment.items()]
        return {"taskDefinition": {"containerDefinitions": [{"environment": listed}]}}

    def _update_service(self, cluster: str, service: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
        assert cluster == CLUSTER
        found = self.services[service]
        if "desiredCount" in changes:
            found["desiredCount"] = found["runningCount"] = changes["desiredCount"]
        if changes.get("forceNewDeployment"):
            found["deployments"] = [deployment(f"{service}-new")]
        return {"service": found}

    def _rules(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        store = Filters[0]["Values"][0].removeprefix("sg-bidding-system-")
        port = {"redis": 6379, "postgres": 5432}[store]
        return {
            "SecurityGroupRules": [
                {
                    "IsEgress": False,
                    "FromPort": port,
                    "ToPort": port,
                    "ReferencedGroupInfo": {"GroupId": f"sg-bidding-system-{part}"},
                }
                for part in self.admitted[store]
            ]
        }


def deployment(name: str, state: str = "COMPLETED", status: str = "PRIMARY") -> dict[str, Any]:
    return {"id": name, "status": status, "rolloutState": state, "failedTasks": 0}


def service(part: str) -> dict[str, Any]:
    name = f"bidding-system-{part}"
    return {
        "serviceName": name,
        "status": "ACTIVE",
        "desiredCount": 1,
        "runningCount": 1,
        "pendingCount": 0,
        "taskDefinition": f"arn:task-definition/{name}:3",
        "deployments": [deployment(f"{name}-old")],
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["a"]}},
        "events": [],
    }
