"""What runs in the emulated AWS: containers of this machine, by the addresses in AWS' APIs."""

import json

from pkg.devkit import docker_cli
from pkg.devkit.backend import Backend, BackendName
from pkg.devkit.cloud.backend import CloudBackend
from pkg.devkit.cloud.state_dir import StateDir
from pkg.devkit.cloud.status import replica_name
from pkg.devkit.errors import BidkitError
from pkg.devkit.home import Home
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.system import ReplicaStatus

REPLICAS = {API: 2, BROADCAST: 1, ARCHIVAL: 1}
"""As dev.tfvars has them: a service that scales itself cannot have fewer."""


def container_of(home: Home, replica: ReplicaStatus) -> str:
    """Its id. Raises BidkitError if no container has the replica's address."""
    network = StateDir(home.folder, BackendName.CLOUD.value).emulator_name
    text = docker_cli.ask("network", "inspect", "-f", "{{json .Containers}}", network)
    found: dict[str, dict[str, str]] = json.loads(text)
    for container, end in found.items():
        if replica.host in {end["Name"], end["IPv4Address"].partition("/")[0]}:
            return container
    raise BidkitError(f"no container of the emulated AWS is at {replica.host}, {replica.name}.")


def pid_of(home: Home, replica: ReplicaStatus) -> int:
    """Of its main process. Raises BidkitError."""
    container = container_of(home, replica)
    return int(docker_cli.ask("inspect", "-f", "{{.State.Pid}}", container))


def stop_task(backend: Backend, part: str, replica: str) -> None:
    """As ECS stops one. Raises BidkitError if there is none of that name."""
    assert isinstance(backend, CloudBackend)  # noqa: S101 - no other one has tasks
    deployed = backend.deployed()
    for service in deployed.services.names(part):
        for task in deployed.services.tasks(service):
            arn = str(task["taskArn"])
            if replica_name(part, arn) == replica:
                cluster = deployed.outputs.ecs_cluster_name
                deployed.aws.ask("ecs", "stop_task", cluster=cluster, task=arn, reason="a trial")
                return
    raise BidkitError(f"{replica} does not run, so it cannot be stopped.")
