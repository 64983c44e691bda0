"""The cloud backend's files in bidkit's home, and the names derived from that home.

cloud/lock            held while the emulated system is brought up or down
cloud/system.json     the emulator and what was applied to it, from `up` until `down` is done
cloud/terraform       a copy of the configuration, with its state
aws/lock, system.json the same of what was deployed to an account; its state is in `terraform/`
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pkg.devkit.cloud.place import Place
from pkg.devkit.errors import BidkitError, NotRunning
from pkg.devkit.home import Home, load, save


class Outputs(msgspec.Struct, frozen=True):
    """Those of Terraform's that verbs need."""

    ecs_cluster_name: str
    alb_url: str
    ws_url: str
    rds_endpoint: str
    rds_port: int
    redis_endpoint: str
    ecr_api_gateway_url: str
    deployment_commands: str


class System(msgspec.Struct, frozen=True):
    """An emulator, or an account, and what was applied there."""

    place: Place
    emulator: str | None = None
    """Name of its container and its network."""
    port: int | None = None
    db_password: str | None = None
    nats_password: str | None = None
    """None on AWS, where they are nobody's business but Secrets Manager's."""
    outputs: Outputs | None = None
    """None until the first apply has succeeded."""
    wanted: bool = True
    """False from the beginning of `down`."""


@dataclass(frozen=True, slots=True)
class StateDir:
    home: Path
    kind: str
    """cloud or aws."""

    @property
    def folder(self) -> Path:
        return self.home / self.kind

    @property
    def system_file(self) -> Path:
        return self.folder / "system.json"

    @property
    def terraform(self) -> Path:
        return self.folder / "terraform"

    @property
    def emulator_name(self) -> str:
        """Unique to the home, so that one home never ends another's emulator."""
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:8]
        return f"bidding-emulator-{digest}"

    def system(self) -> System | None:
        return load(self.system_file, System)

    def save(self, system: System) -> None:
        save(self.system_file, system)

    def forget(self) -> None:
        self.system_file.unlink(missing_ok=True)

    def applied(self) -> tuple[System, Outputs]:
        """Raises NotRunning."""
        system = self.system()
        if system is None or system.outputs is None:
            command = "bidkit up --on cloud" if self.kind == "cloud" else "bidkit deploy --on aws"
            raise NotRunning(f"nothing is deployed; `{command}` does that.")
        return system, system.outputs

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Raises BidkitError if another bidkit has it."""
        with Home(self.folder).lock() as free:
            if not free:
                raise BidkitError("another bidkit is still bringing this system up or down.")
            yield
