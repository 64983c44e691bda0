"""An in-memory Docker engine that fails or waits as a test says."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pkg.devkit.compose.command import ComposeFailed
from pkg.devkit.compose.container import Container, container_of
from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.project import Project
from pkg.devkit.docker_cli import failure
from pkg.devkit.errors import BidkitError
from pkg.devkit.names import API, ARCHIVAL, BROADCAST, EDGE, SERVICES, STORES
from pkg.devkit.signals import Check, no_check
from tests.unit.devkit.compose.doubles import await_fact
from tests.unit.devkit.compose.test_container import inspected

STORE_ADDRESSES = {"REDIS_ADDR": "redis:6379", "NATS_URL": "nats://nats:4222"}
ENVIRONMENTS = {
    API: STORE_ADDRESSES | {"BID_STRATEGY": "lua", "DEREGISTER_S": "2"},
    BROADCAST: STORE_ADDRESSES | {"DEREGISTER_S": "2"},
    ARCHIVAL: STORE_ADDRESSES | {"POSTGRES_URL": "postgresql://bidding@postgres/bidding"},
}
"""The services' environments in compose.yaml; they win over `shared_environment`."""
OWN_IMAGES = tuple(f"own/{name}:tag" for name in ("nats", *SERVICES))
STOP_COMMANDS = {"compose stop", "compose down"}


@dataclass
class Behaviour:
    """How a command behaves."""

    error: str = ""
    """If set, it fails with this message. With `half` it does part of its work first."""
    half: bool = False
    does_nothing: bool = False
    delay_s: float = 0
    during: Callable[[], object] = field(default=lambda: None)
    """Called while the command runs."""
    times: int = 1 << 30


class FakeEngine(Engine):
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.unready: set[str] = set()
        """Services or container ids (`id1`, `id2`, …), also of future containers."""
        self.unseen_by_edge: set[str] = set()
        """Ids of containers that the edge does not find."""
        self.images: dict[str, str] = {}
        self.shared_environment: dict[str, str] = {}
        self.existing_volumes: list[str] = []
        self._existing: list[Container] = []
        self._behaviours: dict[str, Behaviour] = {}
        self._made = self._builds = self._kills = 0

    def set_behaviour(self, command: str, **behaviour: Any) -> None:  # noqa: ANN401 - the fields of Behaviour
        self._behaviours[command] = Behaviour(**behaviour)

    def clear_behaviours(self) -> None:
        self._behaviours.clear()

    def add_running(self, **replicas: int) -> None:
        """Adds that many ready containers of each service."""
        for name, number in replicas.items():
            for _ in range(number):
                self._add(name.replace("_", "-"))

    def mark_stopped(self, container: str) -> None:
        self._stop(lambda one: one.id == container)

    def add_images(self, *images: str) -> None:
        self.images |= {name: f"sha256:{name}" for name in images}

    def ids(self, service: str | None = None) -> list[str]:
        return [one.id for one in self._existing if service in {None, one.service}]

    def await_call(self, call: str) -> None:
        await_fact(
            lambda: any(line.startswith(call) for line in self.calls), seen=lambda: self.calls[-5:]
        )

    # Engine's methods

    def check_versions(self) -> None:
        self._do("version")

    def containers(self, project: str) -> list[Container]:  # noqa: ARG002 - there is only one
        self._do("ps")
        return sorted(map(self._seen, self._existing), key=lambda one: (one.service, one.number))

    def volumes(self, project: str) -> list[str]:  # noqa: ARG002
        return self.existing_volumes

    def networks(self, project: str) -> list[str]:  # noqa: ARG002
        return []

    def tail(self, container: str, lines: int) -> list[str]:
        self.calls.append(f"logs {container} --tail {lines}")
        stopped = any(one.id == container and not one.alive for one in self._existing)
        last = [f"the last words of {container}"] if stopped else []
        return [f"what {container} had to say", *last]

    def execute(self, container: str, *command: str) -> str:  # noqa: ARG002 - called only for the edge
        rows = ["# pxname,svname,status,addr,"] + [
            f"{one.service.partition('-')[0]},replica-{one.number},"
            f"{'DOWN' if one.id in self.unseen_by_edge else 'UP'},{one.address}:8080,"
            for one in self._existing
        ]
        return "\n".join(rows) if self._do(f"exec {container}") else ""

    def missing_images(self, names: Sequence[str], *, within_s: float = 0) -> list[str]:  # noqa: ARG002
        return []

    def image_ids(self, names: Sequence[str]) -> dict[str, str]:
        return {name: self.images[name] for name in names if name in self.images}

    def configuration(self, project: Project, override: Path | None) -> dict[str, Any]:
        overrides = _override(project, override)
        services: dict[str, dict[str, Any]] = {
            **{name: {"image": name} for name in ("redis", "postgres", "edge")},
            **{name: {"image": f"own/{name}:tag", "build": {}} for name in ("nats", *SERVICES)},
        }
        for name in SERVICES:
            environment = self.shared_environment | ENVIRONMENTS[name]
            environment |= overrides.get(name, {}).get("environment", {})
            services[name]["environment"] = environment
        return {"services": services}

    def compose(self, project: Project, *arguments: str, check: Check = no_check) -> None:
        def work() -> None:
            match arguments:
                case ["up", *options]:
                    self._up(project, options)
                case ["stop"]:
                    self._stop(lambda _: True)
                case ["down", *options]:
                    self._existing = []
                    if "--volumes" in options:
                        self.existing_volumes = []
                case ["build", *_]:
                    self._build()

        self._do(f"compose {' '.join(arguments)}", work, check=check, fails_with=ComposeFailed)

    def kill(self, project: Project) -> None:  # noqa: ARG002
        if self._do("compose kill", lambda: self._stop(lambda _: True), fails_with=ComposeFailed):
            self._kills += 1

    def stop(self, project: Project, containers: list[str]) -> None:  # noqa: ARG002
        self._do(
            f"container stop {' '.join(containers)}",
            lambda: self._stop(lambda one: one.id in containers),
        )

    def remove(self, project: Project, containers: list[str]) -> None:  # noqa: ARG002
        self._existing = [one for one in self._existing if one.id not in containers]

    def _do(
        self,
        call: str,
        work: Callable[[], object] = no_check,
        *,
        check: Check = no_check,
        fails_with: Callable[[str], BidkitError] = failure,
    ) -> bool:
        """Does the work as the command's behaviour says. Returns whether it was done."""
        words = call.split()
        key = " ".join(words[: 2 if words[0] in {"compose", "container"} else 1])
        self.calls.append(call)
        behaviour = self._behaviours.get(key, Behaviour())
        if behaviour.times <= 0:
            behaviour = Behaviour()
        behaviour.times -= 1
        works = behaviour.half or not (behaviour.error or behaviour.does_nothing)
        if works and key not in STOP_COMMANDS:
            work()
        behaviour.during()
        try:
            self._wait(key, behaviour.delay_s, check)
        except BaseException:
            self.calls.append(f"{key} was ended")
            raise
        if works and key in STOP_COMMANDS:
            work()
        if behaviour.error:
            raise fails_with(behaviour.error)
        return works

    def _wait(self, key: str, seconds: float, check: Check) -> None:
        kills, deadline = self._kills, time.monotonic() + seconds
        check()
        while time.monotonic() < deadline:
            if key in STOP_COMMANDS and self._kills > kills:
                self.calls.append(f"{key} was hurried")
                return
            time.sleep(0.01)
            check()

    def _up(self, project: Project, options: list[str]) -> None:
        override = _override(project)
        scales = dict(text[len("--scale=") :].split("=") for text in options if "--scale=" in text)
        self.existing_volumes = ["redis-data"]
        for service in scales or (*STORES, *SERVICES, EDGE):
            wanted = int(scales.get(service, override.get(service, {}).get("scale", 1)))
            here = self.ids(service)
            self._existing = [
                replace(one, status="running") if one.id in here[:wanted] else one
                for one in self._existing
                if one.id not in here[wanted:]
            ]
            self.add_running(**{service: wanted - len(here)})

    def _add(self, service: str) -> None:
        self._made += 1
        used = {one.number for one in self._existing if one.service == service}
        container = container_of(inspected(service, min(set(range(1, 99)) - used)))
        id_, address = f"id{self._made}", f"10.0.0.{self._made}"
        self._existing.append(replace(container, id=id_, address=address, pid=None))

    def _stop(self, which: Callable[[Container], bool]) -> None:
        self._existing = [
            replace(one, status="exited") if which(one) else one for one in self._existing
        ]

    def _seen(self, one: Container) -> Container:
        unready = not self.unready.isdisjoint({one.id, one.service})
        return replace(one, health="unhealthy", last_check="no answer") if unready else one

    def _build(self) -> None:
        """Makes new images; only one with `half`."""
        self._builds += 1
        behaviour = self._behaviours.get("compose build")
        half = behaviour is not None and behaviour.half and behaviour.times >= 0
        for name in OWN_IMAGES[: 1 if half else None]:
            self.images[name] = f"sha256:{self._builds}"


def _override(project: Project, file: Path | None = None) -> dict[str, Any]:
    """The services in bidkit's override file."""
    own = project.files(file)[1:]
    services: dict[str, Any] = json.loads(own[0].read_text())["services"] if own else {}
    return services
