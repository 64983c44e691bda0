"""The emulated AWS in its container, on free ports of loopback and a network of its own."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from pkg.devkit.cloud.emulator import Emulator, build_image
from pkg.devkit.cloud.emulator_kinds import IMAGE, MINISTACK, Kind
from pkg.devkit.cloud.nats_image import forget_nats_image
from pkg.devkit.cloud.place import EMULATED_KEYS as CREDENTIALS
from pkg.devkit.cloud.release import forget_images
from pkg.devkit.compose.state_dir import held
from pkg.devkit.docker_cli import PROJECT_LABEL, ask
from pkg.devkit.ports import free_ports
from pkg.devkit.signals import no_check
from tests.integration.compose.leftovers import FOLDER, NOTHING, owned, remaining

__all__ = ["CREDENTIALS", "IMAGE", "REGION", "ROOT", "Emulated", "build", "emulated"]

ROOT = Path(__file__).resolve().parents[3]
REGION = "us-east-1"

_BUILT_WITHIN_S = 900.0
_STOPPED_WITHIN_S = 60


class Emulated(Emulator):
    """The dev kit's, with what tests ask of it."""

    @property
    def environment(self) -> dict[str, str]:
        """What the AWS command line, boto3 and Terraform need to talk to it, and only to it."""
        return {**CREDENTIALS, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": self.url}

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def log(self) -> str:
        ran = subprocess.run(
            ("docker", "logs", "--tail", "200", self.name),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=20,
            check=False,
        )
        return ran.stdout

    def containers(self) -> list[str]:
        """Ids of the containers it started."""
        ids = ask("ps", "-aq", "--no-trunc", "--filter", f"network={self.name}").split()
        own = ask("inspect", "-f", "{{.Id}}", self.name).strip()
        return [each for each in ids if each != own]

    def containers_shown(self) -> str:
        """Of those: name, image and status, a line each."""
        shown = "{{.Names}} {{.Image}} {{.Status}}"
        return ask("ps", "-a", "--filter", f"network={self.name}", "--format", shown)


def build() -> None:
    # Of two processes at once, the second one finds the layers made.
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    lock = FOLDER / f"building-{IMAGE.rpartition('-')[2]}"
    with held(lock, within_s=_BUILT_WITHIN_S, busy="another run is still building."):
        build_image(no_check)


@contextmanager
def emulated(settings: Mapping[str, str], kind: Kind = MINISTACK) -> Iterator[Emulated]:
    """Its container, started. Afterwards nothing of it remains."""
    (port,) = free_ports(1)
    name = f"bidding-cloud-{port}"
    running = Emulated(name, port, kind)
    with owned(name):
        labels = {PROJECT_LABEL: name}
        running.start(say=_say, check=no_check, settings=settings, labels=labels)
        try:
            yield running
            assert running.runs(), running.log()
        finally:
            ask("stop", "-t", str(_STOPPED_WITHIN_S), name, within_s=_STOPPED_WITHIN_S + 20)
            ask("rm", "-v", name)
            left = remaining(name)["container"]
            if left:
                ask("rm", "-f", "-v", *left)
            ask("network", "rm", name)
            # Not before: an image in use keeps its name.
            forget_images(f"localhost:{port}")
            forget_nats_image(name)
            assert not left, f"the emulator left containers: {left}"
            assert remaining(name) == NOTHING


def _say(sentence: str) -> None:
    print(sentence)  # noqa: T201 - worth reading when a later step fails
