"""Tasks run as their definition says, and end as it says."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from pkg.devkit.docker_cli import ask
from pkg.trials.waiting import until
from tests.integration.cloud.ecs import CHECK, Cluster, answers, cluster
from tests.integration.cloud.emulated import Emulated

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def ecs(emulator: Emulated) -> Iterator[Cluster]:
    with cluster(emulator) as this:
        yield this


async def running(ecs: Cluster, arn: str) -> None:
    await until(
        lambda: ecs.task(arn)["lastStatus"] == "RUNNING",
        within_s=20,
        what="the task runs",
        log=lambda: json.dumps(ecs.task(arn), default=str),
    )
    await until(answers(f"http://{ecs.address(arn)}:8080/health"), within_s=20)


async def test_entry_point_user_limits_and_privileges_are_those_of_the_definition(
    ecs: Cluster,
) -> None:
    definition = ecs.task_definition(
        task_cpu="256",
        task_memory="512",
        user="10001",
        readonlyRootFilesystem=True,
        linuxParameters={"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": True},
        ulimits=[{"name": "nofile", "softLimit": 4096, "hardLimit": 65535}],
        environment=[{"name": "PURPOSE", "value": "test"}],
    )
    arn = ecs.run_task(definition)
    await running(ecs, arn)

    itself = ecs.ask_task(arn, "/itself")
    host = json.loads(ask("inspect", "-f", "{{json .HostConfig}}", ecs.container(arn)))

    assert itself["user"] == 10001
    assert itself["writable"] is False
    assert int(itself["capabilities"], 16) == 0
    assert itself["files"] == 4096
    assert itself["environment"]["PURPOSE"] == "test"
    assert host["Memory"] == host["MemorySwap"] == 512 * 1024**2
    assert host["NanoCpus"] == 250_000_000
    assert host["Init"] is True
    assert not host["PortBindings"]


async def test_command_of_a_run_replaces_the_definitions(ecs: Cluster) -> None:
    definition = ecs.task_definition(entryPoint=["sh", "-c"], command=["exit 1"])

    arn = ecs.run_task(
        definition, overrides={"containerOverrides": [{"name": "main", "command": ["exit 7"]}]}
    )

    assert (await ecs.ended(arn))["containers"][0]["exitCode"] == 7


async def test_ended_task_keeps_its_exit_code_and_log_but_no_container(ecs: Cluster) -> None:
    logs = ecs.emulator.client("logs")
    logs.create_log_group(logGroupName=ecs.name)
    definition = ecs.task_definition(
        entryPoint=["sh", "-c", "echo first; echo last; exit 4"],
        logConfiguration={
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": ecs.name,
                "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "ecs",
            },
        },
    )

    arn = ecs.run_task(definition)
    task = await ecs.ended(arn)

    assert task["containers"][0]["exitCode"] == 4
    assert task["stopCode"] == "EssentialContainerExited"
    assert ecs.container(arn) == ""
    events = logs.filter_log_events(logGroupName=ecs.name)["events"]
    assert [each["message"] for each in events] == ["first", "last"]


async def test_stopped_task_is_asked_to_end_and_killed_after_its_time_out(ecs: Cluster) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    obeys = ecs.run_task(ecs.task_definition())
    await running(ecs, obeys)
    ignores = ecs.run_task(ecs.task_definition(entryPoint=["python", "-c", deaf], stopTimeout=2))
    await until(lambda: ecs.task(ignores)["lastStatus"] == "RUNNING", within_s=20)

    for arn in (obeys, ignores):
        ecs.ecs.stop_task(cluster=ecs.name, task=arn, reason="a test")

    assert (await ecs.ended(obeys))["containers"][0]["exitCode"] == 0
    ended = await ecs.ended(ignores)
    assert ended["containers"][0]["exitCode"] == 137
    assert ended["stoppedReason"] == "a test"


async def test_health_of_the_container_is_reported(ecs: Cluster) -> None:
    arn = ecs.run_task(ecs.task_definition(healthCheck=CHECK))
    await running(ecs, arn)

    await until(lambda: ecs.task(arn)["healthStatus"] == "HEALTHY", within_s=20)
    ecs.ask_task(arn, "/sick", b"")
    await until(lambda: ecs.task(arn)["healthStatus"] == "UNHEALTHY", within_s=20)

    assert ecs.task(arn)["containers"][0]["healthStatus"] == "UNHEALTHY"


async def test_missing_secret_stops_the_task_before_it_starts(ecs: Cluster) -> None:
    secret = "arn:aws:secretsmanager:us-east-1:000000000000:secret:nobody-aaaaaa"
    definition = ecs.task_definition(secrets=[{"name": "PASSWORD", "valueFrom": secret}])

    task = await ecs.ended(ecs.run_task(definition))

    assert task["stopCode"] == "TaskFailedToStart"
    assert "ResourceInitializationError" in task["stoppedReason"]


async def test_files_on_efs_outlive_tasks_and_go_with_the_file_system(ecs: Cluster) -> None:
    efs = ecs.emulator.client("efs")
    system = efs.create_file_system(CreationToken=ecs.name)["FileSystemId"]
    point = efs.create_access_point(
        FileSystemId=system,
        PosixUser={"Uid": 10001, "Gid": 10001},
        RootDirectory={
            "Path": "/nats",
            "CreationInfo": {"OwnerUid": 10001, "OwnerGid": 10001, "Permissions": "0700"},
        },
    )["AccessPointId"]
    definition = ecs.task_definition(
        user="10001",
        readonlyRootFilesystem=True,
        mountPoints=[{"sourceVolume": "data", "containerPath": "/data"}],
        task_volumes=[
            {
                "name": "data",
                "efsVolumeConfiguration": {
                    "fileSystemId": system,
                    "transitEncryption": "ENABLED",
                    "authorizationConfig": {"accessPointId": point, "iam": "ENABLED"},
                },
            }
        ],
    )

    first = ecs.run_task(definition)
    await running(ecs, first)
    ecs.ask_task(first, "/note", b"kept")
    ecs.ecs.stop_task(cluster=ecs.name, task=first)
    await ecs.ended(first)
    second = ecs.run_task(definition)
    await running(ecs, second)

    assert ecs.ask_task(second, "/note") == "kept"
    ecs.ecs.stop_task(cluster=ecs.name, task=second)
    await ecs.ended(second)
    efs.delete_access_point(AccessPointId=point)
    efs.delete_file_system(FileSystemId=system)
    await until(lambda: volumes(system) == "", within_s=20, what="the volume is gone")


def volumes(file_system: str) -> str:
    ran = subprocess.run(
        ("docker", "volume", "ls", "-q", "--filter", f"label=emulator.efs={file_system}"),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return ran.stdout.strip()


async def test_names_of_cloud_map_resolve_in_tasks_and_follow_replacements(ecs: Cluster) -> None:
    names = ecs.emulator.client("servicediscovery")
    operation = names.create_private_dns_namespace(Name=f"{ecs.name}.local", Vpc="vpc-1")
    namespace = names.get_operation(OperationId=operation["OperationId"])["Operation"]["Targets"][
        "NAMESPACE"
    ]
    registry = names.create_service(
        Name="nats",
        NamespaceId=namespace,
        DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 5}], "RoutingPolicy": "MULTIVALUE"},
    )["Service"]
    ecs.service(
        "nats",
        ecs.task_definition(),
        serviceRegistries=[{"registryArn": registry["Arn"]}],
        deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 100},
    )
    asks = ecs.run_task(ecs.task_definition())
    await running(ecs, asks)
    path = f"/resolve?name=nats.{ecs.name}.local"

    for _ in range(2):
        (arn,) = await ecs.stable("nats")
        address = ecs.address(arn)
        assert ecs.ask_task(asks, path) == [address]
        instances = names.list_instances(ServiceId=registry["Id"])["Instances"]
        assert [each["Attributes"]["AWS_INSTANCE_IPV4"] for each in instances] == [address]
        ecs.ecs.stop_task(cluster=ecs.name, task=arn)
        await ecs.ended(arn)
