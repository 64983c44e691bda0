"""All completions. Importing this registers the functions that they replace."""

from collections.abc import Callable

from localstack.emulator import (
    alarms,
    autoscaling,
    containers,
    describe,
    ecs_arguments,  # noqa: F401 - replaces only
    ecs_services,
    efs,
    load_balancers,
    query_protocol,
    secrets,  # noqa: F401 - replaces only
    stores,  # noqa: F401 - replaces only
    tasks,
)
from localstack.emulator.serving import Emulator

INSTALLS: tuple[Callable[[Emulator], None], ...] = (
    alarms.install,
    autoscaling.install,
    containers.install,
    describe.install,
    query_protocol.install,
    tasks.install,
    load_balancers.install,
    ecs_services.install,
    efs.install,
)
"""Of the completions that do more than replace functions."""
