"""The emulated AWS: a container of this home, on free ports of loopback, in its own network."""

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.request import ProxyHandler, build_opener

from pkg.devkit.backend import Say
from pkg.devkit.cloud.command import CommandFailed, run
from pkg.devkit.cloud.emulator_kinds import IMAGE, MINISTACK, Kind
from pkg.devkit.docker_cli import ask, engine_version
from pkg.devkit.errors import BidkitError, NotReady
from pkg.devkit.settings import PROJECT
from pkg.devkit.signals import Check

BUILD_ARGUMENTS = ("PYTHON_IMAGE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
_READY_WITHIN_S = 120.0
_STOPS_WITHIN_S = 60
_TRY_EVERY_S = 0.5
_NOTHING: Mapping[str, str] = MappingProxyType({})
_CA_PATH = "/_ministack/elasticache/ca.pem"


def build_arguments(environment: Mapping[str, str]) -> list[str]:
    """Of `docker build`: what the environment replaces, as for compose."""
    return [
        text
        for name in BUILD_ARGUMENTS
        if environment.get(name)
        for text in ("--build-arg", f"{name}={environment[name]}")
    ]


@dataclass(frozen=True, slots=True)
class Emulator:
    name: str
    """Of its container and of its network."""
    port: int
    kind: Kind = MINISTACK

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def registry(self) -> str:
        return f"localhost:{self.port}"

    def start(
        self,
        *,
        say: Say,
        check: Check,
        settings: Mapping[str, str] = _NOTHING,
        labels: Mapping[str, str] = _NOTHING,
    ) -> None:
        """Returns when it answers. `settings` are those of localstack/README.md.

        Raises BidkitError.
        """
        engine_version()
        if self.kind.image_variable is None:
            say("building the emulator's image (a minute the first time)")
            build_image(check)
        say(f"starting the emulator at {self.url}")
        own = {**self.kind.settings(name=self.name, port=self.port), **settings}
        passed = [name for name in self.kind.passed if os.environ.get(name) and name not in own]
        marks = [text for pair in labels.items() for text in ("--label", "=".join(pair))]
        ask("network", "create", *marks, self.name)
        ask(
            *("run", "-d", "--name", self.name, "--network", self.name, *marks),
            *("-p", f"127.0.0.1:{self.port}:{self.port}"),
            *("-v", "/var/run/docker.sock:/var/run/docker.sock"),
            *(text for each in [*map("=".join, own.items()), *passed] for text in ("-e", each)),
            self.kind.image_of(os.environ),
        )
        deadline = time.monotonic() + _READY_WITHIN_S
        while not self.answers():
            check()
            if not self.runs() or time.monotonic() > deadline:
                last = ask("logs", "--tail", "5", self.name).strip()
                raise NotReady(f"the emulator does not answer. Its log ends with:\n  {last}")
            time.sleep(_TRY_EVERY_S)

    def runs(self) -> bool:
        """Raises NoEngine."""
        state = ask("ps", "-q", "--filter", f"name=^{self.name}$", "--filter", "status=running")
        return bool(state.strip())

    def answers(self) -> bool:
        try:
            return bool(self._get(self.kind.ready))
        except OSError:
            return False

    def redis_ca(self) -> str:
        """The authority of its Redis' certificates, made at each start."""
        try:
            return self._get(_CA_PATH)
        except OSError as error:
            raise BidkitError(f"the emulator does not show its authority: {error}.") from error

    def remove(self) -> None:
        """Its containers, volumes and network, also if it was killed. Raises BidkitError."""
        remove(self.name)

    def _get(self, path: str) -> str:
        # A proxy would not reach loopback.
        with build_opener(ProxyHandler({})).open(self.url + path, timeout=5) as answer:
            text: str = answer.read().decode()
            return text


def build_image(check: Check) -> None:
    arguments = build_arguments(os.environ)
    try:
        run(
            ("docker", "build", "-t", IMAGE, *arguments, "-f", "localstack/Dockerfile", "."),
            environment=os.environ,
            folder=PROJECT,
            check=check,
        )
    except CommandFailed as error:
        raise BidkitError(f"the emulator's image could not be built:\n  {error}") from error


def remove(name: str) -> None:
    """Lets the emulator end what it started; removes by label and network what is left of it."""
    own = _ids("ps", "-aq", "--filter", f"name=^{name}$")
    if own:
        ask("stop", "-t", str(_STOPS_WITHIN_S), name, within_s=_STOPS_WITHIN_S + 20)
    for each in _containers(name):
        # One may be going by itself at this moment.
        _regardless("rm", "-f", "-v", each)
    for volume in remaining(name)["volume"]:
        _regardless("volume", "rm", "-f", volume)
    for network in remaining(name)["network"]:
        _regardless("network", "rm", network)
    left = {kind: ids for kind, ids in remaining(name).items() if ids}
    if left:
        listed = "; ".join(f"{kind} {', '.join(ids)}" for kind, ids in left.items())
        raise BidkitError(f"something of the emulator is left: {listed}. Run `bidkit down` again.")


def remaining(name: str) -> dict[str, list[str]]:
    """Ids by kind of all that an emulator of this name made and that is still there."""
    return {
        "container": _containers(name),
        "volume": [
            line.split()[0]
            for line in ask(
                *("volume", "ls", "--filter", "label=ministack.instance"),
                *("--format", '{{.Name}} {{.Label "ministack.instance"}}'),
            ).splitlines()
            if _is_of(line, name)
        ],
        "network": _ids("network", "ls", "-q", "--filter", f"name=^{name}$"),
    }


def _containers(name: str) -> list[str]:
    labelled = [
        line.split()[0]
        for line in ask(
            *("ps", "-a", "--no-trunc", "--filter", "label=ministack.instance"),
            *("--format", '{{.ID}} {{.Label "ministack.instance"}}'),
        ).splitlines()
        if _is_of(line, name)
    ]
    named = _ids("ps", "-aq", "--no-trunc", "--filter", f"name=^{name}$")
    networks = _ids("network", "ls", "-q", "--filter", f"name=^{name}$")
    inside = _ids("ps", "-aq", "--no-trunc", "--filter", f"network={name}") if networks else []
    return list(dict.fromkeys([*named, *labelled, *inside]))


def _is_of(line: str, name: str) -> bool:
    """The label is NAME:PORT, and the port differs from one start to the next."""
    return line.partition(" ")[2].rpartition(":")[0] == name


def _ids(*arguments: str) -> list[str]:
    return ask(*arguments).split()


def _regardless(*arguments: str) -> None:
    """`remaining` says afterwards what is really there."""
    with contextlib.suppress(BidkitError):
        ask(*arguments, within_s=60)
