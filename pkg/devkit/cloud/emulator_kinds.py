"""The emulators of AWS that can be started, at the same port and for the same variables.

bidkit starts MiniStack. LocalStack is for the tests, and needs a token of its licence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from os import fsencode

from pkg.devkit.ports import free_ports
from pkg.devkit.settings import PROJECT

IMAGE = f"bidding-system/emulator:checkout-{sha256(fsencode(PROJECT)).hexdigest()[:8]}"
"""Of this checkout, so that a home never starts another checkout's code."""


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    image: str
    image_variable: str | None
    """What may name another image; None: the image is built here."""
    ready: str
    """Path that is answered as soon as the emulator is ready."""
    passed: tuple[str, ...]
    """Variables that it gets from the caller's environment, by name: one of them is a secret."""
    needs: str | None = None
    """One of them without which it does not start."""
    _settings: Mapping[str, str] = field(default_factory=dict)

    def image_of(self, caller: Mapping[str, str]) -> str:
        given = caller.get(self.image_variable) if self.image_variable else None
        return given or self.image

    def settings(self, *, name: str, port: int) -> dict[str, str]:
        """Of a container and a network called `name`."""
        rds, elasticache = free_ports(2)
        values = {"name": name, "port": port, "rds": rds, "elasticache": elasticache}
        return {variable: text.format(**values) for variable, text in self._settings.items()}


MINISTACK = Kind(
    name="ministack",
    image=IMAGE,
    image_variable=None,
    ready="/_ministack/ready",
    passed=("REDIS_IMAGE", "POSTGRES_IMAGE"),
    _settings={
        "GATEWAY_PORT": "{port}",
        "MINISTACK_HOSTNAME": "{name}",
        "DOCKER_NETWORK": "{name}",
        "RDS_BASE_PORT": "{rds}",
        "ELASTICACHE_BASE_PORT": "{elasticache}",
    },
)
LOCALSTACK = Kind(
    name="localstack",
    image="localstack/localstack-pro:4.14.0",
    image_variable="LOCALSTACK_IMAGE",
    ready="/_localstack/health",
    passed=("LOCALSTACK_AUTH_TOKEN",),
    needs="LOCALSTACK_AUTH_TOKEN",
    _settings={
        "GATEWAY_LISTEN": "0.0.0.0:{port}",
        "LOCALSTACK_HOST": "localhost:{port}",
        "MAIN_CONTAINER_NAME": "{name}",
        "MAIN_DOCKER_NETWORK": "{name}",
    },
)
KINDS = (MINISTACK, LOCALSTACK)
