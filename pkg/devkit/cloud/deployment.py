"""What AWS and the emulator have in common once Terraform has applied: images, roll-out, a test."""

from collections.abc import Mapping
from dataclasses import dataclass

from pkg.devkit.backend import Say
from pkg.devkit.cloud import endpoints, release
from pkg.devkit.cloud.aws import Aws
from pkg.devkit.cloud.place import Place
from pkg.devkit.cloud.services import Services
from pkg.devkit.cloud.smoke import smoke_test
from pkg.devkit.cloud.state_dir import Outputs
from pkg.devkit.names import NATS
from pkg.devkit.signals import Check


@dataclass(frozen=True, slots=True)
class Deployment:
    place: Place
    outputs: Outputs
    aws: Aws
    environment: Mapping[str, str]
    """Of `docker`; AWS' part in it is the place's."""
    registry: str | None = None
    """The emulator's."""

    def release(self, *, say: Say, check: Check) -> None:
        """Images built and pushed, services rolled and steady, a bid seen by a viewer.

        Raises BidkitError.
        """
        endpoints.check(self.place, self.outputs, self.aws)
        commands = release.parse(self.outputs.deployment_commands)
        release.check_registry(commands, self.place, self.registry)
        release.login(commands, self.aws, self.environment, check)
        release.push(commands, self.environment, say=say, check=check)
        services = Services(self.aws, self.outputs.ecs_cluster_name)
        say(f"rolling {', '.join(commands.services)}")
        services.roll(list(commands.services), say=say, check=check)
        services.wait(services.names(NATS), say=say, check=check)
        took_s = smoke_test(self.outputs.alb_url, self.outputs.ws_url, check=check)
        say(f"smoke test: a viewer saw a bid {took_s * 1000:.0f} ms after it was sent")
