"""The system that the guide leads to, on the emulator."""

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pkg.devkit.cloud.aws import Boto
from pkg.devkit.cloud.emulator import build_arguments
from pkg.devkit.cloud.nats_image import nats_variables
from pkg.devkit.cloud.services import Services
from tests.integration.cloud.emulated import CREDENTIALS, REGION, Emulated
from tests.integration.cloud.guide import Guide, checkout, opened

CLUSTER = "bidding-system-cluster"


@dataclass(frozen=True, slots=True)
class Deployment:
    emulator: Emulated
    guide: Guide

    def planned(self) -> dict[str, Any]:
        """A new plan, as JSON."""
        # 2: it succeeded, with changes.
        self.guide.run("terraform plan -detailed-exitcode -out=again >/dev/null || [ $? -eq 2 ]")
        plan: dict[str, Any] = json.loads(self.guide.run("terraform show -json again"))
        return plan

    def state(self) -> list[str]:
        """Addresses."""
        return self.guide.run("terraform state list").splitlines()

    def output(self, name: str) -> str:
        return self.guide.run(f"terraform output -raw {name}")

    @property
    def port(self) -> int:
        """Of the load balancer, on loopback."""
        port = urlsplit(self.output("alb_url")).port
        assert port is not None
        return port

    @property
    def services(self) -> Services:
        keys = (CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
        return Services(Boto(REGION, self.emulator.url, keys), CLUSTER)

    @property
    def postgres_url(self) -> str:
        password = self.guide.run('printf %s "$TF_VAR_db_password"')
        return f"postgresql://bidding:{password}@{self.output('rds_endpoint')}:5432/bidding"

    def tagged(self) -> list[str]:
        """ARNs of what was created and is there."""
        tags = self.emulator.client("resourcegroupstaggingapi")
        ours = [{"Key": "Project", "Values": ["bidding-system"]}]
        found = tags.get_resources(TagFilters=ours)["ResourceTagMappingList"]
        arns = [each["ResourceARN"] for each in found]
        return [arn for arn in arns if not _OUTLIVES.search(arn)]


_OUTLIVES = re.compile(r":ecs:[^:]*:[^:]*:(task-definition|service|task)/")
"""Inactive and stopped ones, whose tags stay as on AWS for a while. No cluster has any."""


@contextmanager
def deployed(emulator: Emulated, folder: Path) -> Iterator[Deployment]:
    """dev, from nothing, by the guide. What runs at the end goes with the emulator."""
    parts = {name: folder / name for name in ("checkout", "tools", "said")}
    for each in parts.values():
        each.mkdir()
    nats = nats_variables(os.environ, emulator.name)
    kept = {
        name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "TF_VAR"))
    }
    environment = {
        **kept,
        **{f"TF_VAR_{name}": text for name, text in nats.items()},
        "PATH": f"{_docker(parts['tools'])}:{os.environ['PATH']}",
        "AWS_DEFAULT_REGION": REGION,  # version 1 of the command line knows no AWS_REGION
        "NO_COLOR": "1",
    }
    source = checkout(parts["checkout"])
    with opened(source, parts["said"], port=emulator.port, environment=environment) as guide:
        guide.to_the_running_system()
        yield Deployment(emulator, guide)


def _docker(folder: Path) -> Path:
    """A folder with a `docker` that builds from the images which the environment names."""
    real = shutil.which("docker") or "docker"
    given = " ".join(shlex.quote(each) for each in build_arguments(os.environ))
    script = folder / "docker"
    script.write_text(
        f'#!/bin/sh\nif [ "$1" = build ]; then shift; exec {real} build {given} "$@"; fi\n'
        f'exec {real} "$@"\n'
    )
    script.chmod(0o755)
    return folder
