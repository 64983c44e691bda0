"""Names, images and published ports of the containers that MiniStack starts.

Replaces ``apply_image_prefix`` where RDS and ElastiCache use it: MiniStack can only put a registry
before the official names, and here every image is a variable. Can go when MiniStack lets each image
be set.

Stands before the Docker SDK's ``create`` and ``get``. MiniStack publishes ports on all
addresses, and databases with known passwords should be reachable from this machine only. It counts
the ports up without knowing which the machine has free, so Docker chooses them. Nothing else uses
them: endpoints are addresses in the emulator's network. And it names stores by account and
identifier alone, so that a second emulator on the same engine would take the first one's database
for its own. Can go when MiniStack has settings for all three.
"""

import os
from collections.abc import Callable, Mapping

from docker.models.containers import ContainerCollection

from localstack.emulator.serving import Emulator
from localstack.emulator.upstream import replaces

VARIABLES = {"redis": "REDIS_IMAGE", "postgres": "POSTGRES_IMAGE"}
"""By official name."""

LOOPBACK = "127.0.0.1"
_NAMED_BY_IDENTIFIER = ("ministack-rds-", "ministack-elasticache-")


@replaces("ministack.services.rds", "apply_image_prefix", source="a39c7c4ea7b5")
@replaces("ministack.services.elasticache", "apply_image_prefix", source="a39c7c4ea7b5")
def apply_image_prefix(original: Callable[[str], str], image: str) -> str:
    name = image.partition(":")[0]
    return os.environ.get(VARIABLES.get(name, "")) or original(image)


def install(emulator: Emulator) -> None:
    own = own_name(emulator.port)
    # `run` uses `create`.
    create, get = ContainerCollection.create, ContainerCollection.get
    ContainerCollection.create = own_and_on_loopback(create, own)
    ContainerCollection.get = lambda self, name_or_id: get(self, own(name_or_id))


def own_name(port: int) -> Callable[[str], str]:
    """Only one emulator has the port."""

    def own(name_or_id: str) -> str:
        return f"{name_or_id}-{port}" if name_or_id.startswith(_NAMED_BY_IDENTIFIER) else name_or_id

    return own


def own_and_on_loopback(
    make: Callable[..., object], own: Callable[[str], str]
) -> Callable[..., object]:
    def made(
        self: ContainerCollection,
        *arguments: object,
        ports: Mapping[str, object] | None = None,
        name: str | None = None,
        **settings: object,
    ) -> object:
        published = {
            inside: (LOOPBACK, None) if isinstance(outside, int) else outside
            for inside, outside in (ports or {}).items()
        }
        return make(self, *arguments, ports=published, name=name and own(name), **settings)

    return made
