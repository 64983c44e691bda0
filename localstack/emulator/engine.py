"""The Docker engine that runs tasks, load balancers and stores, and where the emulator is in it."""

import os
import socket
import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any

import docker
from docker.errors import DockerException
from requests import RequestException

NO_ANSWER = (DockerException, RequestException)
"""The Docker SDK passes on the errors of the HTTP library that it uses."""

_ANSWERS_WITHIN_S = 60.0
"""A stop takes as long as a task's stop time-out on top of it: the SDK adds that itself."""


@dataclass(frozen=True, slots=True)
class Home:
    """The emulator's own container."""

    image: str
    network: str


@cache
def engine() -> Any:  # noqa: ANN401 - the SDK has no types
    return docker.from_env(timeout=_ANSWERS_WITHIN_S)


@cache
def home() -> Home:
    """Raises docker.errors.NotFound if the emulator runs in no container of this engine."""
    own = engine().containers.get(os.environ.get("HOSTNAME") or socket.gethostname())
    network = os.environ.get("DOCKER_NETWORK") or next(
        iter(own.attrs["NetworkSettings"]["Networks"])
    )
    return Home(image=own.attrs["Image"], network=network)


@cache
def processors() -> int:
    count: int = engine().info()["NCPU"]
    return count


def run_to_end(command: list[str], *, volumes: list[str]) -> None:
    """A command in a container of the emulator's own image, as root, removed afterwards."""
    engine().containers.run(
        home().image,
        command,
        name=f"ministack-once-{uuid.uuid4().hex[:12]}",
        labels=labels("once"),
        user="0",
        network_mode="none",
        volumes=volumes,
        remove=True,
    )


def labels(service: str) -> dict[str, str]:
    """With them MiniStack removes what this run, or one before it, left."""
    from ministack.core import container_reaper

    own: dict[str, str] = container_reaper.own_labels(service)
    return own
