"""prod, applied to an emulator of its own, and what probes ask there."""

import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from pkg.devkit.backend import Say
from pkg.devkit.cloud import terraform
from pkg.devkit.cloud.backend import terraform_environment
from pkg.devkit.cloud.command import run
from pkg.devkit.cloud.emulator import Emulator, remaining
from pkg.devkit.cloud.nats_image import forget_nats_image, nats_variables
from pkg.devkit.cloud.place import Place
from pkg.devkit.cloud.terraform import PLAN, Terraform
from pkg.devkit.docker_cli import ask
from pkg.devkit.ports import free_port
from pkg.devkit.signals import no_check

_PROTECTIONS = ("db_deletion_protection  = true", "alb_deletion_protection = true")
_MIB = 1024 * 1024


@dataclass(slots=True)
class Applied:
    """A deployment, and how it went."""

    emulator: Emulator
    folder: Path
    environment: Mapping[str, str]
    dev: Counter[str] = field(default_factory=Counter)
    """Resources by type."""
    prod: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    """Those of prod that a second plan would change."""
    took_s: dict[str, float] = field(default_factory=dict)

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        import boto3  # of the environment cloud only

        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.emulator.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - an emulator's
        )

    def refused(self, service: str, operation: str, /, **arguments: object) -> str:
        """Whether a call is refused, and with which of AWS' codes."""
        from botocore.exceptions import ClientError

        what = operation.replace("_", " ")
        try:
            getattr(self.client(service), operation)(**arguments)
        except ClientError as error:
            return f"{what}: refused ({error.response['Error']['Code']})"
        return f"{what}: not refused"

    def request(self, path: str) -> int:
        """The load balancer's status."""
        found = self.client("elbv2").describe_load_balancers(Names=["bidding-system"])
        host = found["LoadBalancers"][0]["DNSName"]
        try:
            with urlopen(f"http://{host}{path}", timeout=10) as answer:
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code

    def containers(self, kind: str) -> list[str]:
        """Ids of the running ones of a service: ecs, rds, elasticache."""
        name = f"name=^ministack-{kind}-"
        network = f"network={self.emulator.name}"
        return ask("ps", "-q", "--filter", name, "--filter", network).split()

    def limits(self, container: str) -> str:
        processors, memory = self._limits(container)
        return f"{processors / 1e9:g} CPU and {memory // _MIB} MiB"

    def memory(self, container: str) -> str:
        _, memory = self._limits(container)
        return f"{memory // _MIB} MiB" if memory else "its container has no limit"

    def log(self, container: str) -> str:
        return run(("docker", "logs", container), environment=os.environ, folder=self.folder)

    def _limits(self, container: str) -> tuple[int, int]:
        shown = ask("inspect", "-f", "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}", container)
        processors, memory = map(int, shown.split())
        return processors, memory


@contextmanager
def emulator(name: str, *, say: Say) -> Iterator[Emulator]:
    """A new one. Afterwards nothing of it remains."""
    own = Emulator(name, free_port(24566))
    try:
        own.start(say=say, check=no_check)
        yield own
    finally:
        own.remove()
        forget_nats_image(name)


def deployment(own: Emulator, folder: Path) -> Applied:
    """Nothing is applied yet, but Terraform is initialised in the folder."""
    variables = {
        "emulated": "true",
        "registry": own.registry,
        "redis_ca": own.redis_ca(),
        "db_password": secrets.token_hex(24),
        "nats_password": secrets.token_hex(24),
        "redis_auth_token": secrets.token_hex(32),
        "image_tag": secrets.token_hex(6),
        **nats_variables(os.environ, own.name),
    }
    environment = terraform_environment(Place(endpoint=own.url), variables)
    terraform.copy(folder)
    applied = Applied(own, folder, environment)
    _of(applied, "prod.tfvars").init(check=no_check)
    return applied


def planned(on: Applied, var_file: str) -> tuple[Counter[str], Counter[str]]:
    """Managed resources by type: all, and those that the plan would change."""
    _of(on, var_file).plan(check=no_check, hear=lambda _: None)
    show = ("terraform", "show", "-json", PLAN)
    plan = json.loads(run(show, environment=on.environment, folder=on.folder))
    (on.folder / PLAN).unlink()
    every, changing = Counter[str](), Counter[str]()
    for one in plan["resource_changes"]:
        if one["mode"] == "managed" and one["type"].startswith("aws_"):
            every[one["type"]] += 1
            changing[one["type"]] += one["change"]["actions"] != ["no-op"]
    return every, +changing


@contextmanager
def applied(own: Emulator, folder: Path, *, say: Say) -> Iterator[Applied]:
    """prod, applied and planned once more. Afterwards its protection is lifted, and it is
    destroyed.
    """
    on = deployment(own, folder)
    on.dev, _ = planned(on, "dev.tfvars")
    prod = _of(on, "prod.tfvars")
    _timed(on, "apply", lambda: prod.apply(say=say, check=no_check))
    say("second plan")
    _timed(on, "second plan", lambda: _second_plan(on))
    yield on
    text = (folder / "prod.tfvars").read_text("utf-8")
    for line in _PROTECTIONS:
        assert line in text  # noqa: S101 - else the destroy would be refused
        text = text.replace(line, line.replace("true", "false"))
    (folder / "lifted.tfvars").write_text(text, "utf-8")
    lifted = _of(on, "lifted.tfvars")
    lifted.apply(say=say, check=no_check)
    _timed(on, "destroy", lambda: lifted.destroy(say=say, check=no_check))


def _second_plan(on: Applied) -> None:
    on.prod, on.changed = planned(on, "prod.tfvars")


def _timed(on: Applied, what: str, do: Callable[[], None]) -> None:
    began = time.monotonic()
    do()
    on.took_s[what] = time.monotonic() - began


def _of(on: Applied, var_file: str) -> Terraform:
    return Terraform(on.folder, on.environment, var_file)


def left(own: Emulator) -> list[str]:
    """Ids of containers that it started and that are still there."""
    self_ = ask("inspect", "-f", "{{.Id}}", own.name).strip()
    return [each for each in remaining(own.name)["container"] if each != self_]
